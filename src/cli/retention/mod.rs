//! The retention policy by hand: what it is, and a change of it.

mod list;
mod set;
mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The TTL, and what happens at an event's end, by snapshot type
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Set(set::Set),
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Set(set) => set.run().await,
        }
    }
}
