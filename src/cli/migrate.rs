use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::output::{OutputOptions, note};
use crate::config::{DatabaseOptions, parse_duration};
use crate::storage::{AppliedMigration, Database};
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

#[derive(Debug, Serialize)]
struct Answer {
    applied: Vec<AppliedMigration>,
    /// Snapshots that never expire: they were made before a missing `expires_at` was filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_without_expires_at: Option<i64>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        // Two: one may build an index for minutes while the other one renews the lease.
        let database = Database::new(self.database.database_url.as_ref(), 2)?;
        let answer = if let Some(at_most) = self.wait {
            let waiting = |reason: &str| note(&format!("waiting: {reason}"));
            database.migrations_wait(at_most, waiting).await?;
            Answer { applied: Vec::new(), rows_without_expires_at: None }
        } else {
            let applied = database.migrate().await?;
            Answer { applied, rows_without_expires_at: Some(database.restamp_count_without_expiry().await?) }
        };
        database.close().await;
        self.output.print(&answer, |answer| {
            let rows = Table::new(["version", "migration"]);
            let rows = answer
                .applied
                .iter()
                .fold(rows, |rows, migrated| rows.row([migrated.version.to_string(), migrated.description.clone()]));
            let done = match answer.applied.len() {
                0 => "the database is up to date".to_owned(),
                1 => "1 migration applied".to_owned(),
                more => format!("{more} migrations applied"),
            };
            rows.footer(match answer.rows_without_expires_at {
                None | Some(0) => done,
                Some(more) => format!(
                    "{done}\nsnapshots without expires_at, which never expire: {more}; to give them one: \
                     snapshot-lifecycle retention set '*' --ttl 7d --restamp, and the same for each type with a TTL of its own"
                ),
            })
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
