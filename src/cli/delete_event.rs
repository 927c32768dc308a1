use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use time::OffsetDateTime;
use uuid::Uuid;

use super::arguments::{rfc3339, uuid};
use super::database::open;
use super::output::{ConfirmOptions, OutputOptions};
use crate::clock;
use crate::config::DatabaseOptions;
use crate::passes::{EventDeletion, EventDeletionReport};
use crate::policy::EventEnd;
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

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let Self { event_id, team_id, occurred_at, .. } = self;
        let deletion =
            EventDeletion { end: EventEnd { event_id, team_id, occurred_at: occurred_at.unwrap_or_else(clock::now) } };
        let report = if self.confirm.yes { deletion.run(&database).await } else { deletion.preview(&database).await }?;
        database.close().await;
        self.output.print(&report, table)?;
        report.failure.map_or(Ok(ExitCode::SUCCESS), |why| bail!(why))
    }
}

fn table(report: &EventDeletionReport) -> Table {
    let table = Table::new(["type", "snapshots", "outcome"]);
    let table = report.types.iter().fold(table, |table, count| {
        let outcome = if count.kept { "kept after the event" } else { "deleted" };
        table.row([count.snapshot_type.clone(), count.rows.to_string(), outcome.to_owned()])
    });
    table.footer(report.to_string())
}
