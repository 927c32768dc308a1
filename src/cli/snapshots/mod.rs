//! The snapshots of an event or a team, and the import of the backend's local store.

mod import;
mod list;
mod show;
mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Lists and shows snapshots, and moves a local JSON store into the table
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Import(import::Import),
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Show(show) => show.run().await,
            Command::Import(import) => import.run().await,
        }
    }
}
