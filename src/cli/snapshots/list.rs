use std::process::ExitCode;

use clap::{ArgGroup, Args};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::cli::arguments::uuid;
use crate::cli::output::{OutputOptions, note};
use crate::config::DatabaseOptions;
use crate::storage::{Database, SnapshotFilter, SnapshotMetadata};
use crate::terminal::{Table, counted, dash, if_it_fits, to_the_second};

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
        self.output.print(&found, |found| {
            let rows = Table::new([
                "id".into(),
                "type".into(),
                if_it_fits("created at"),
                if_it_fits("expires at"),
                if_it_fits("bytes"),
                if_it_fits("event"),
                if_it_fits("team"),
            ]);
            let rows = found.iter().fold(rows, |rows, snapshot| rows.row(cells(snapshot)));
            rows.footer(counted(found.len() as u64, "snapshot"))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn cells(snapshot: &SnapshotMetadata) -> [String; 7] {
    let time = |at: OffsetDateTime| Some(to_the_second(&at.format(&Rfc3339).ok()?));
    [
        snapshot.id.to_string(),
        snapshot.snapshot_type.clone(),
        dash(snapshot.created_at.and_then(time)),
        dash(time(snapshot.expires_at)),
        snapshot.bytes.to_string(),
        dash(snapshot.event_id.map(|id| id.to_string())),
        snapshot.team_id.to_string(),
    ]
}
