//! Dead letters by hand: `dead_letters` does the work.

mod export;
mod filter;
mod list;
mod purge;
mod replay;
mod show;
mod stats;
mod table;

use std::mem::{Discriminant, discriminant};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use self::filter::FilterOptions;
use super::interrupt::stop_on_signals;
use super::output::{OutputOptions, progress};
use crate::broker::{BrokerAddress, Topology};
use crate::config::{BrokerOptions, ConfigError, TopologyMode};
use crate::dead_letters::{DeadLetters, Progress};

/// Lists, shows, counts, replays, saves and removes dead letters
///
/// Dead letters that a command does not remove stay in their places. One dlq command works at a time on a queue; another one waits five
/// seconds for it.
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

/// What each dlq command takes.
#[derive(Debug, Args)]
struct QueueOptions {
    #[command(flatten)]
    filter: FilterOptions,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten, next_help_heading = "Output")]
    output: OutputOptions,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Show(show) => show.run().await,
            Command::Stats(stats) => stats.run().await,
            Command::Replay(replay) => replay.run().await,
            Command::Export(export) => export.run().await,
            Command::Purge(purge) => purge.run().await,
        }
    }
}

impl QueueOptions {
    /// The queue. A first Ctrl-C ends the work and returns what is held to its place; a second one does not wait for that.
    fn dead_letters(&self) -> Result<DeadLetters, ConfigError> {
        Ok(DeadLetters {
            address: BrokerAddress::parse(self.broker.amqp_url.as_ref())?,
            topology: Topology::new(self.broker.exchange.clone(), self.broker.queue.clone(), TopologyMode::Verify),
            stop: stop_on_signals(),
            on_progress: Box::new(progress_bars()),
        })
    }
}

/// A bar for each kind of progress, one after the other.
fn progress_bars() -> impl Fn(Progress) + Send + Sync {
    let bar: Mutex<Option<(Discriminant<Progress>, ProgressBar)>> = Mutex::default();
    move |now| {
        let (done, of, unit) = match now {
            Progress::Read(done, of) => (done, Some(of.into()), "dead letters read"),
            Progress::Replayed(done) => (done, None, "dead letters replayed"),
            Progress::Removed(done) => (done, None, "dead letters removed"),
        };
        let mut shown = bar.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, bar) = match shown.take_if(|(kind, _)| *kind == discriminant(&now)) {
            Some(same) => shown.insert(same),
            // The bar before is dropped, which clears it.
            None => shown.insert((discriminant(&now), progress(of, unit))),
        };
        bar.set_position(done.into());
    }
}
