use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::output::{ConfirmOptions, OutputOptions, Rows};
use crate::clock;
use crate::config::DatabaseOptions;
use crate::message::instant;
use crate::policy::EventEnd;
use crate::storage::{Database, Ended, TypeCount};

/// Deletes an event's snapshots by hand, by the same rule as a status message: types kept after the event stay
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The event
    #[arg(value_parser = super::arguments::uuid)]
    event_id: Uuid,
    /// Only this team's snapshots
    #[arg(long, value_name = "ID", value_parser = super::arguments::uuid)]
    team_id: Option<Uuid>,
    /// Only snapshots created at or before this time, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = rfc3339)]
    occurred_at: Option<OffsetDateTime>,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    event_id: Uuid,
    dry_run: bool,
    would_delete: i64,
    deleted: u64,
    types: Vec<TypeCount>,
}

pub(super) fn rfc3339(text: &str) -> Result<OffsetDateTime, String> {
    instant(text).ok_or_else(|| "RFC 3339 with an offset, such as 2026-01-05T12:00:00Z".to_owned())
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        database.check_access().await?;
        let end = EventEnd {
            event_id: self.event_id,
            team_id: self.team_id,
            occurred_at: self.occurred_at.unwrap_or_else(clock::now),
        };
        let types = database.count_event(&end).await?;
        let would_delete = types.iter().filter(|count| !count.kept).map(|count| count.rows).sum();
        let mut deleted = 0;
        if self.confirm.yes {
            deleted = match database.end_event_in_steps(&end).await? {
                Ended::Deleted(rows) => rows,
                Ended::TeamMismatch => {
                    anyhow::bail!("the event has snapshots, but of another team than --team-id; nothing was deleted")
                }
            };
        }
        database.close().await;
        let answer = Answer { event_id: self.event_id, dry_run: !self.confirm.yes, would_delete, deleted, types };
        self.output.print(&answer, |answer| {
            let rows = Rows::new(["type", "snapshots", "fate"]);
            let rows = answer.types.iter().fold(rows, |rows, count| {
                let fate = if count.kept { "kept after the event" } else { "deleted" };
                rows.row([count.snapshot_type.clone(), count.rows.to_string(), fate.to_owned()])
            });
            rows.remark(if answer.dry_run {
                format!("would delete {}; nothing was changed, add --yes to do it", answer.would_delete)
            } else {
                format!("deleted {}", answer.deleted)
            })
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
