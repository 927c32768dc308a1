use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output::OutputOptions;
use super::paused::{Activities, not_done, open_unchecked, table};
use crate::config::DatabaseOptions;
use crate::storage::Pause;

/// Ends what `pause` has stopped, and shows what that was
///
/// Workers consume again within seconds. Sweeps and evictions follow at their next interval. Needs the role that ran `migrate`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to resume [default: all]
    #[arg(value_name = "WHAT", value_parser = Activities::parser())]
    what: Option<Activities>,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    resumed: Vec<Pause>,
    paused: Vec<Pause>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open_unchecked(&self.database)?;
        let Activities(activities) = self.what.unwrap_or_else(Activities::all);
        let resumed = database.pause_end(&activities).await.map_err(not_done)?;
        let paused = database.pause_list().await.map_err(not_done)?;
        database.close().await;
        let verdict = if resumed.is_empty() { "it was not paused" } else { "resumed" };
        let names: Vec<_> = paused.iter().map(|pause| pause.what.as_str()).collect();
        let still = if names.is_empty() { String::new() } else { format!("; still paused: {}", names.join(", ")) };
        let footer = format!("{verdict}{still}");
        self.output.print(&Answer { resumed, paused }, |answer| table(&answer.resumed, &footer))?;
        Ok(ExitCode::SUCCESS)
    }
}
