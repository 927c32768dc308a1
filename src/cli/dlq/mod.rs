//! Dead letters by hand: `dead_letters` does the work.

mod export;
mod filter;
mod list;
mod purge;
mod queue;
mod replay;
mod show;
mod stats;
mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};

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
