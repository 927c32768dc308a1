use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::database::open;
use crate::cli::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::passes::Retention;
use crate::storage::TypeRetention;
use crate::terminal::{Table, duration};

/// Lists the policy, and how many snapshots each row of it applies to
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Entry {
    snapshot_type: String,
    ttl: String,
    #[serde(flatten)]
    retention: Retention,
    rows: i64,
    rows_with_event: i64,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let policy = database.retention_list().await?;
        database.close().await;
        let entries: Vec<_> = policy.into_iter().map(Entry::from).collect();
        self.output.print(&entries, |entries| {
            let rows = Table::new(["type", "ttl", "at the event's end", "snapshots", "with an event"]);
            let rows = entries.iter().fold(rows, |rows, entry| {
                rows.row([
                    entry.snapshot_type.clone(),
                    entry.ttl.clone(),
                    at_event_end(entry.retention.keep_after_event).to_owned(),
                    entry.rows.to_string(),
                    entry.rows_with_event.to_string(),
                ])
            });
            rows.footer("* applies to every type that is not listed")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl From<TypeRetention> for Entry {
    fn from(row: TypeRetention) -> Self {
        let retention = Retention::of(&row);
        Self {
            ttl: duration(retention.ttl_seconds),
            retention,
            snapshot_type: row.snapshot_type,
            rows: row.rows.all,
            rows_with_event: row.rows.with_event,
        }
    }
}

/// What the policy does.
pub(super) const fn at_event_end(keep: bool) -> &'static str {
    if keep { "kept" } else { "deleted" }
}
