use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output::{OutputOptions, terminal_width};
use super::worker_options::WorkerOptions;
use crate::broker::{BrokerAddress, Topology};
use crate::config::ConfigError;
use crate::doctor::{BrokerExpectations, Finding, Patience, State, examine_database, examine_rabbitmq};
use crate::storage::Database;
use crate::terminal::wrap;

/// Checks configuration, database and broker; one line a check, with the mend. Exit code 1 when a check fails
///
/// Takes the same flags and variables as `run`, and changes nothing: the database is asked in read-only transactions, the broker by requests
/// that leave nothing behind but lines in its log. Warnings do not fail.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Also send a message through the exchange (a status that ends no event) and one to the dead letters that expires at once: the only
    /// way to see whether a queue takes them
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    worker: WorkerOptions,
    #[command(flatten, next_help_heading = "Output")]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    /// Whether no check failed.
    ok: bool,
    checks: Vec<Finding>,
}

/// One transaction at a time.
const CONNECTIONS: u32 = 1;

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        // A value that cannot be used has ended the program before.
        let mut checks = vec![Finding {
            check: "configuration",
            state: State::Ok,
            says: format!(
                "every value can be used; `run` would serve HTTP on {}, and stop within {:?}",
                self.worker.http.http_addr, self.worker.process.shutdown_timeout
            ),
            mend: None,
        }];
        let mut publishes = false;
        match Database::read_only(self.worker.database.database_url.as_ref(), CONNECTIONS) {
            Ok(database) => {
                let patience = Patience {
                    sweep_interval: self.worker.passes.sweep_interval,
                    evict_interval: self.worker.passes.evict_interval,
                };
                let (findings, installed) = examine_database(&database, patience).await;
                checks.extend(findings);
                publishes = installed;
                database.close().await;
            }
            Err(error) => checks.push(unusable("database.url", &error)),
        }
        match BrokerAddress::parse(self.worker.broker.amqp_url.as_ref()) {
            Ok(address) => {
                let mode = self.worker.messages.topology;
                let topology = Topology::new(self.worker.broker.exchange, self.worker.broker.queue, mode);
                let expected = BrokerExpectations { topology, mode, publishes, probe: self.probe };
                checks.extend(examine_rabbitmq(&address, &expected).await);
            }
            Err(error) => checks.push(unusable("rabbitmq.url", &error)),
        }
        let ok = checks.iter().all(|check| check.state != State::Failed);
        self.output.print_text(&Answer { ok, checks }, lines)?;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn unusable(check: &'static str, error: &ConfigError) -> Finding {
    Finding {
        check,
        state: State::Failed,
        says: format!("{} is missing or unusable", error.variable),
        mend: Some(format!("set it to {}", error.allowed)),
    }
}

/// Before what does not fit on the first line.
const INDENT: &str = "    ";

/// One line a check, so that `grep` finds it whole; on a terminal broken between words only.
fn lines(answer: &Answer) -> String {
    let longest = answer.checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
    let line = |Finding { check, state, says, mend }: &Finding| {
        let mend = mend.as_ref().map(|mend| format!(" -> {mend}")).unwrap_or_default();
        format!("{:<7}  {check:<longest$}  {says}{mend}", state.as_str())
    };
    let count = |state: State| answer.checks.iter().filter(|check| check.state == state).count();
    let sum = match (count(State::Failed), count(State::Warning)) {
        (0, 0) => "nothing is wrong".to_owned(),
        (failed, warnings) => format!("{failed} failed, {warnings} to look at"),
    };
    let width = terminal_width().map(|width| width.saturating_sub(INDENT.len()));
    let lines = answer.checks.iter().map(line).chain([sum]);
    lines.map(|line| wrap(&line, width).join(&format!("\n{INDENT}")) + "\n").collect()
}
