use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::output::{OutputOptions, note};
use super::paused::{Activities, not_done, open_unchecked, os_user, table};
use crate::config::{DatabaseOptions, parse_duration};
use crate::storage::Pause;

/// Stops sweeps, evictions or consuming for the whole fleet
///
/// It acts at once and deletes nothing. When it has ended, nothing is deleted any more by what it has paused. Messages wait in the queue. `resume` ends
/// it, and `sweep --yes`, `evict --yes` and `delete-event --yes` are refused until then. A pause that ends later than this one stays as it is.
/// Needs the role that ran `migrate`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to pause; without it, shows what is paused
    #[arg(value_name = "WHAT", value_parser = Activities::parser())]
    what: Option<Activities>,
    /// Ends on its own after this time, by the database's clock, written 30s, 5m, 12h, 7d [default: until `resume`]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, requires = "what")]
    length: Option<Duration>,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    paused: Vec<Pause>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open_unchecked(&self.database)?;
        if let Some(Activities(activities)) = &self.what {
            database.pause_set(activities, self.length, Some(&os_user())).await.map_err(not_done)?;
            if !database.pause_await_deletes().await.map_err(not_done)? {
                note("paused; a transaction that began before is still under way, and may delete what it was about to");
            }
        }
        let answer = Answer { paused: database.pause_list().await.map_err(not_done)? };
        database.close().await;
        let footer = if answer.paused.is_empty() { "nothing is paused" } else { "`resume` ends it" };
        self.output.print(&answer, |answer| table(&answer.paused, footer))?;
        Ok(ExitCode::SUCCESS)
    }
}
