use std::process::ExitCode;

use clap::Args;

use super::output::{OutputOptions, terminal_width};
use crate::config::WorkerOptions;
use crate::doctor::{CheckId, examine};

/// Checks configuration, database and broker; one line per check, with the fix. Exit code 1 when a check fails
///
/// Takes the same flags and variables as `run`, and changes nothing: the database is asked in read-only transactions, the broker by requests
/// that leave nothing behind but lines in its log. Warnings do not fail.
#[derive(Debug, Args)]
#[command(after_long_help = CheckId::list())]
pub(super) struct Options {
    /// Also send a message through the exchange (a status that ends no event) and one to the dead letters that expires at once: only
    /// publishing can show whether a queue takes them
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    worker: WorkerOptions,
    #[command(flatten, next_help_heading = "Output")]
    output: OutputOptions,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let report = examine(self.worker, self.probe).await;
        self.output.print_text(&report, |report| report.render(terminal_width()))?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
