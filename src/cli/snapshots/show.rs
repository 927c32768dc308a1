use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::cli::arguments::uuid;
use crate::cli::database::open;
use crate::cli::output::{OutputOptions, for_the_screen};
use crate::config::DatabaseOptions;
use crate::storage::StoredSnapshot;
use crate::terminal::dash;

/// Shows a snapshot with its data, expired or not
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The snapshot
    #[arg(value_name = "ID", value_parser = uuid)]
    id: Uuid,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let found = database.snapshots_find(self.id).await?;
        database.close().await;
        let Some(snapshot) = found else {
            bail!("there is no snapshot {}; it may have been deleted", self.id);
        };
        self.output.print_records(&snapshot, |snapshot| vec![record(snapshot)])?;
        Ok(ExitCode::SUCCESS)
    }
}

fn record(snapshot: &StoredSnapshot) -> Vec<(String, String)> {
    let StoredSnapshot { metadata, data } = snapshot;
    let time = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
    let screen = |json: &str| for_the_screen(json, "--output json");
    let record = [
        ("id", metadata.id.to_string()),
        ("team", metadata.team_id.to_string()),
        ("type", metadata.snapshot_type.clone()),
        ("event", dash(metadata.event_id.map(|id| id.to_string()))),
        ("created at", dash(metadata.created_at.map(time))),
        ("expires at", time(metadata.expires_at)),
        ("params", metadata.params.as_ref().map(|params| screen(&params.to_string())).unwrap_or_default()),
        ("data", screen(data.get())),
    ];
    record.map(|(name, text)| (name.to_owned(), text)).into()
}
