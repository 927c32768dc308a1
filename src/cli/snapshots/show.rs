use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::cli::output::{OutputOptions, Rows};
use crate::config::DatabaseOptions;
use crate::storage::{Database, StoredSnapshot};

/// Shows a snapshot with its data, expired or not
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The snapshot
    #[arg(value_name = "ID")]
    id: Uuid,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        database.check_access().await?;
        let found = database.find_snapshot(self.id).await?;
        database.close().await;
        let Some(snapshot) = found else {
            bail!("there is no snapshot {}; it may have been deleted", self.id);
        };
        self.output.print(&snapshot, table)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(snapshot: &StoredSnapshot) -> Rows {
    let StoredSnapshot { metadata, data } = snapshot;
    let time = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
    let row = |name: &str, text: String| [name.to_owned(), text];
    Rows::new(["", ""])
        .row(row("id", metadata.id.to_string()))
        .row(row("team", metadata.team_id.to_string()))
        .row(row("type", metadata.snapshot_type.clone()))
        .row(row("event", metadata.event_id.map_or_else(|| "-".to_owned(), |id| id.to_string())))
        .row(row("created at", metadata.created_at.map_or_else(|| "-".to_owned(), time)))
        .row(row("expires at", time(metadata.expires_at)))
        .row(row("params", metadata.params.as_ref().map(ToString::to_string).unwrap_or_default()))
        .row(row("data", data.get().to_owned()))
}
