use std::process::ExitCode;

use clap::Args;

use super::output::{OutputOptions, terminal_width};
use super::worker_options::WorkerOptions;
use crate::broker::Topology;
use crate::doctor::{BrokerExpectations, CheckId, Finding, PassIntervals, Report, examine_database, examine_rabbitmq};
use crate::terminal::wrap;

/// Checks configuration, database and broker; one line per check, with the fix. Exit code 1 when a check fails
///
/// Takes the same flags and variables as `run`, and changes nothing: the database is asked in read-only transactions, the broker by requests
/// that leave nothing behind but lines in its log. Warnings do not fail.
#[derive(Debug, Args)]
#[command(after_long_help = checks_help())]
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
        // An unusable value has ended the program before.
        let mut checks = vec![Finding::ok(
            CheckId::Configuration,
            format!(
                "every value is usable; `run` would serve HTTP on {}, and stop within {:?}",
                self.worker.http.http_addr, self.worker.process.shutdown_timeout
            ),
        )];
        let intervals = PassIntervals {
            sweep_interval: self.worker.passes.sweep_interval,
            evict_interval: self.worker.passes.evict_interval,
        };
        let database = examine_database(self.worker.database.database_url.as_ref(), intervals).await;
        checks.extend(database.findings);
        let mode = self.worker.messages.topology;
        let expected = BrokerExpectations {
            topology: Topology::new(self.worker.broker.exchange, self.worker.broker.queue, mode),
            mode,
            publishes: database.outbox_installed,
            probe: self.probe,
        };
        checks.extend(examine_rabbitmq(self.worker.broker.amqp_url.as_ref(), expected).await);
        let report = Report::from(checks);
        self.output.print_text(&report, wrapped)?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The list of checks, from their own definition.
fn checks_help() -> String {
    let longest = CheckId::all().map(|check| check.as_str().len()).max().unwrap_or_default();
    let lines = CheckId::all().map(|check| format!("  {check:<longest$}  {}\n", check.description()));
    format!("Checks:\n{}", lines.collect::<String>())
}

/// Before what does not fit on the first line of a terminal.
const INDENT: &str = "    ";

fn wrapped(report: &Report) -> String {
    let width = terminal_width().map(|width| width.saturating_sub(INDENT.len()));
    report.lines().map(|line| wrap(&line, width).join(&format!("\n{INDENT}")) + "\n").collect()
}
