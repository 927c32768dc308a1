use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::output::{ConfirmOptions, OutputOptions};
use crate::clock;
use crate::config::DatabaseOptions;
use crate::message::instant;
use crate::policy::{EventEnd, named_teams};
use crate::storage::{Database, Ended, EventCount, TypeCount};
use crate::terminal::Table;

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
    /// Table that a trigger or rule of the backend kept, without an error.
    kept: u64,
    types: Vec<TypeCount>,
}

pub(super) fn rfc3339(text: &str) -> Result<OffsetDateTime, String> {
    instant(text).ok_or_else(|| "RFC 3339 with an offset, such as 2026-01-05T12:00:00Z".to_owned())
}

fn bail_mismatched(owners: &[Uuid]) -> anyhow::Result<()> {
    anyhow::bail!("the event has no snapshots of --team-id, but of {}; nothing was deleted", named_teams(owners))
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
        let EventCount { types, owners } = database.count_event(&end).await?;
        if let Some(owners) = owners {
            bail_mismatched(&owners)?;
        }
        let would_delete = types.iter().filter(|count| !count.kept).map(|count| count.rows).sum();
        let (mut deleted, mut kept, mut failure) = (0, 0, None);
        if self.confirm.yes {
            let stepped = database.end_event_in_steps(&end).await?;
            match stepped.ended {
                Ended::Deleted { rows, kept: by_backend } => (deleted, kept) = (rows, by_backend),
                Ended::TeamMismatch(owners) => bail_mismatched(&owners)?,
            }
            failure = stepped.error.map(|error| anyhow::anyhow!("{}: {}", stepped.failed, error.one_line()));
            if kept > 0 && failure.is_none() {
                failure = Some(anyhow::anyhow!(
                    "{kept} found and not deleted; does a trigger or rule of the backend keep them?"
                ));
            }
        }
        database.close().await;
        let dry_run = !self.confirm.yes;
        let answer = Answer { event_id: self.event_id, dry_run, would_delete, deleted, kept, types };
        self.output.print(&answer, |answer| {
            let rows = Table::new(["type", "snapshots", "fate"]);
            let rows = answer.types.iter().fold(rows, |rows, count| {
                let fate = if count.kept { "kept after the event" } else { "deleted" };
                rows.row([count.snapshot_type.clone(), count.rows.to_string(), fate.to_owned()])
            });
            rows.footer(if answer.dry_run {
                format!("would delete {}; nothing was changed, add --yes to do it", answer.would_delete)
            } else {
                let kept = format!("; a trigger or rule of the backend kept {}", answer.kept);
                format!("deleted {}{}", answer.deleted, if answer.kept > 0 { kept.as_str() } else { "" })
            })
        })?;
        failure.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}
