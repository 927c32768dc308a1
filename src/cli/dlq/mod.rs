//! What operators do with dead letters.

mod export;
mod filter;
mod list;
mod purge;
mod replay;
mod settle;
mod show;
mod stats;
mod stop_on_failures;
mod survey;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::interrupt::stop_on_signals;
use crate::broker::{BrokerAddress, DeadLetterQueue, HeldLetter, Topology};
use crate::config::{BrokerOptions, TopologyMode};
use crate::lifecycle::Stop;

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

/// Works on the queue; however that ends, what is left goes back to its place. A second Ctrl-C does not wait for it.
async fn with_queue<T>(
    broker: &BrokerOptions,
    work: impl AsyncFnOnce(&mut Hands) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let address = BrokerAddress::parse(broker.amqp_url.as_ref())?;
    let topology = Topology::new(broker.exchange.clone(), broker.queue.clone(), TopologyMode::Verify);
    let stop = stop_on_signals();
    let queue = tokio::select! {
        queue = DeadLetterQueue::open(&address, &topology) => queue?,
        () = stop.soft.cancelled() => bail!("interrupted"),
    };
    let mut hands = Hands { queue, stop, address, topology };
    let done = work(&mut hands).await;
    tokio::select! {
        () = hands.queue.close() => {}
        () = hands.stop.hard.cancelled() => {}
    }
    done
}

/// What a command works with.
struct Hands {
    queue: DeadLetterQueue,
    stop: Stop,
    address: BrokerAddress,
    topology: Topology,
}

impl Hands {
    /// The next letter for a command that only looks; an interruption ends it.
    async fn next(&mut self) -> anyhow::Result<Option<HeldLetter>> {
        if self.stop.soft.is_cancelled() {
            bail!("interrupted; nothing was changed");
        }
        Ok(self.queue.next().await?)
    }
}
