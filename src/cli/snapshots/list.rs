use std::process::ExitCode;

use clap::{ArgGroup, Args};
use uuid::Uuid;

use super::table;
use crate::cli::arguments::uuid;
use crate::cli::output::{OutputOptions, note};
use crate::config::DatabaseOptions;
use crate::storage::{Database, SnapshotFilter};

/// Lists the snapshots of a team or of an event, the newest first, without their data
///
/// Expired snapshots are not shown, whether or not a sweep has deleted them yet.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").required(true).multiple(true).args(["team_id", "event_id"])))]
pub(super) struct List {
    /// Of this team
    #[arg(long, value_name = "ID", value_parser = uuid)]
    team_id: Option<Uuid>,
    /// Of this event
    #[arg(long, value_name = "ID", value_parser = uuid)]
    event_id: Option<Uuid>,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE")]
    snapshot_type: Option<String>,
    /// At most N
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        if self.team_id.is_none() {
            // A role from which row-level security hides rows would see none, and say that there are none.
            database.access_check().await?;
        }
        let filter = SnapshotFilter {
            event_id: self.event_id,
            snapshot_type: self.snapshot_type,
            after: None,
            limit: Some(self.limit),
        };
        let found = database.snapshots_list(self.team_id, &filter).await?;
        database.close().await;
        if found.len() == self.limit as usize {
            note(&format!("the newest {} are shown; --limit shows more", self.limit));
        }
        self.output.print(&found, |found| table::of_snapshots(found))?;
        Ok(ExitCode::SUCCESS)
    }
}
