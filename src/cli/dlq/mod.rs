//! What operators do with dead letters.

mod export;
mod filter;
mod list;
mod purge;
mod replay;
mod show;
mod stats;
mod stop_on_failures;
mod survey;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::broker::{BrokerAddress, DeadLetterQueue, Topology};
use crate::config::{BrokerOptions, TopologyMode};

/// Looks at, replays, saves and removes dead letters
///
/// Letters that a command does not remove stay in their places. One dlq command works at a time on a queue; another waits
/// five seconds for it.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Stats(stats::Stats),
    Replay(replay::Replay),
    Export(export::Export),
    Purge(purge::Purge),
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Show(show) => show.run().await,
            Command::Stats(stats) => stats.run().await,
            Command::Export(export) => export.run().await,
            Command::Replay(replay) => replay.run().await,
            Command::Purge(purge) => purge.run().await,
        }
    }
}

fn reach(broker: &BrokerOptions) -> anyhow::Result<(BrokerAddress, Topology)> {
    let address = BrokerAddress::parse(broker.amqp_url.as_ref())?;
    Ok((address, Topology::new(broker.exchange.clone(), broker.queue.clone(), TopologyMode::Verify)))
}

async fn open(broker: &BrokerOptions) -> anyhow::Result<DeadLetterQueue> {
    let (address, topology) = reach(broker)?;
    Ok(DeadLetterQueue::open(&address, &topology).await?)
}
