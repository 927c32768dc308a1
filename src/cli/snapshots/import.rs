use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use uuid::Uuid;

use super::table;
use crate::cli::arguments::uuid;
use crate::cli::interrupt::stop_on_signals;
use crate::cli::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::import::Importer;
use crate::storage::Database;
use crate::terminal::progress;

/// Moves the backend's local store (page_snapshots/snapshots.json) into the table
///
/// FILE holds {"snapshots": {OLD_ID: {"type": …, "event_id": …, "created_at": …, "expires_at": …, "params": …, "data": …}, …}}, as the
/// backend writes it. type, created_at and data are required. A time without an offset is UTC.
///
/// Types and times are kept. Each snapshot gets a UUID derived from the team and its old id, so a second import changes nothing, and the
/// same command completes an interrupted one. A snapshot that was deleted since the first import is inserted again. The command prints each
/// old id with its new one, and for each snapshot that is left out the reason, PostgreSQL's own where the database refuses a row. Exit
/// code 1 when anything but expired snapshots is left out. --dry-run checks the file, the team, the events and which snapshots exist
/// already; it does not try the inserts. The role needs SELECT on public.teams and public.events, and SELECT and INSERT on
/// public.snapshots, within the team's row-level security.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The store
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose snapshots they are
    #[arg(long, value_name = "ID", value_parser = uuid)]
    team_id: Uuid,
    /// Only show what would be imported
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        let stop = stop_on_signals();
        let bar = progress(Some(0), "snapshots");
        let importer = Importer {
            database: &database,
            team_id: self.team_id,
            stop: &stop.soft,
            on_progress: &|done, all| bar.update(|state| _ = (state.set_pos(done as u64), state.set_len(all as u64))),
        };
        let report = if self.dry_run { importer.preview(&self.file).await } else { importer.run(&self.file).await };
        bar.finish_and_clear();
        database.close().await;
        let report = report?;
        self.output.print(&report, table::of_import)?;
        report.failure().map_or(Ok(ExitCode::SUCCESS), |why| bail!(why))
    }
}
