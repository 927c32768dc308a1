use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::{OutputOptions, note};
use crate::config::{DatabaseOptions, parse_duration};
use crate::storage::{AppliedMigration, Database, MigrationReport};
use crate::terminal::Table;

/// Applies the migrations; safe to run twice, by several replicas at once, and with a snapshots table that exists already
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Change nothing, and wait at most this long until the schema is up to date: for an init container with the worker's own role
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        // Two: one may build an index for minutes while the other one renews the lease.
        let database = Database::new(self.database.database_url.as_ref(), 2)?;
        let report = if let Some(at_most) = self.wait {
            let waiting = |reason: &str| note(&format!("waiting: {reason}"));
            database.migrations_wait(at_most, waiting).await?;
            MigrationReport::default()
        } else {
            let applied = database.migrate().await?;
            MigrationReport { applied, rows_without_expires_at: Some(database.restamp_count_without_expiry().await?) }
        };
        database.close().await;
        self.output.print(&report, |report| {
            let rows = Table::new(["version", "migration"]);
            let row = |applied: &AppliedMigration| [applied.version.to_string(), applied.description.clone()];
            report.applied.iter().map(row).fold(rows, Table::row).footer(report.to_string())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
