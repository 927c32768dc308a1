use std::process::ExitCode;

use clap::Args;

use crate::cli::database::open;
use crate::cli::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::passes::RetentionEntry;
use crate::terminal::Table;

/// Lists the policy, and how many snapshots each row of it applies to
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let policy = database.retention_list().await?;
        database.close().await;
        let entries: Vec<_> = policy.into_iter().map(RetentionEntry::from).collect();
        self.output.print(&entries, |entries| {
            let rows = Table::new(["type", "ttl", "at the event's end", "snapshots", "with an event"]);
            let rows = entries.iter().fold(rows, |rows, entry| {
                rows.row([
                    entry.snapshot_type.clone(),
                    entry.ttl.clone(),
                    entry.retention.at_event_end().to_owned(),
                    entry.rows.to_string(),
                    entry.rows_with_event.to_string(),
                ])
            });
            rows.footer("* applies to every type that is not listed")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
