//! The trigger on the backend's events table, by hand.

mod install;
mod status;
mod uninstall;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The trigger on the backend's events table that records status changes for publishing
///
/// With it a backend that speaks only to the database publishes every status change without a line of code. The trigger records the change
/// in the same transaction, and `run` publishes what is recorded.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Install(install::Install),
    Status(status::Status),
    Uninstall(uninstall::Uninstall),
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Install(install) => install.run().await,
            Command::Status(status) => status.run().await,
            Command::Uninstall(uninstall) => uninstall.run().await,
        }
    }
}
