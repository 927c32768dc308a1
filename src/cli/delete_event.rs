use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::arguments::{rfc3339, uuid};
use super::database::open;
use super::output::{ConfirmOptions, OutputOptions};
use crate::clock;
use crate::config::DatabaseOptions;
use crate::policy::{EventEnd, named_teams};
use crate::storage::{EventCount, EventEndOutcome, TypeCount};
use crate::terminal::Table;

/// Deletes an event's snapshots by hand, by the same rule as a status message: types kept after the event stay
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The event
    #[arg(value_parser = uuid)]
    event_id: Uuid,
    /// Only this team's snapshots
    #[arg(long, value_name = "ID", value_parser = uuid)]
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
    /// Rows that a trigger or rule of the backend kept, without an error.
    kept: u64,
    types: Vec<TypeCount>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let end = EventEnd {
            event_id: self.event_id,
            team_id: self.team_id,
            occurred_at: self.occurred_at.unwrap_or_else(clock::now),
        };
        let EventCount { types, owners } = database.event_end_count(&end).await?;
        if let Some(owners) = owners {
            bail!(team_mismatch(&owners));
        }
        let would_delete = types.iter().filter(|count| !count.kept).map(|count| count.rows).sum();
        let (mut deleted, mut kept, mut failure) = (0, 0, None);
        if self.confirm.yes {
            let stepped = database.event_steps_run(&end).await?;
            (deleted, kept) = match stepped.ended {
                EventEndOutcome::Deleted { rows, kept } => (rows, kept),
                EventEndOutcome::TeamMismatch(owners) => bail!(team_mismatch(&owners)),
            };
            failure = match stepped.error {
                Some(error) => Some(format!("{}: {}", stepped.failed, error.one_line())),
                None if kept > 0 => {
                    Some(format!("{kept} found and not deleted; does a trigger or rule of the backend keep them?"))
                }
                None => None,
            };
        }
        database.close().await;
        let dry_run = !self.confirm.yes;
        let answer = Answer { event_id: self.event_id, dry_run, would_delete, deleted, kept, types };
        self.output.print(&answer, table)?;
        failure.map_or(Ok(ExitCode::SUCCESS), |why| bail!(why))
    }
}

fn team_mismatch(owners: &[Uuid]) -> String {
    format!("the event has no snapshots of --team-id, but of {}; nothing was deleted", named_teams(owners))
}

fn table(answer: &Answer) -> Table {
    let table = Table::new(["type", "snapshots", "outcome"]);
    let table = answer.types.iter().fold(table, |table, count| {
        let outcome = if count.kept { "kept after the event" } else { "deleted" };
        table.row([count.snapshot_type.clone(), count.rows.to_string(), outcome.to_owned()])
    });
    table.footer(match answer {
        Answer { dry_run: true, would_delete, .. } => {
            format!("would delete {would_delete}; nothing was changed, add --yes to do it")
        }
        Answer { deleted, kept: 0, .. } => format!("deleted {deleted}"),
        Answer { deleted, kept, .. } => format!("deleted {deleted}; a trigger or rule of the backend kept {kept}"),
    })
}
