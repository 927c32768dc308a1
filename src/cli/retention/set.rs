use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::table;
use crate::cli::arguments::snapshot_type;
use crate::cli::database::{explained, open};
use crate::cli::interrupt::stop_on_signals;
use crate::cli::output::{ConfirmOptions, OutputOptions};
use crate::config::{DatabaseOptions, parse_whole_seconds};
use crate::passes::{POLICY_ROLE, RestampEnd, RestampReport, RetentionChange, RetentionReport};
use crate::terminal::progress;

/// Changes the policy for a type
///
/// New rows follow at once: an insert without expires_at gets the new TTL, and running workers read whether the type outlives its event with
/// each batch. Existing rows keep their expires_at unless --restamp is given. Needs the role that ran `migrate`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args(["ttl", "keep_after_event", "restamp"])))]
pub(super) struct Set {
    /// The type, such as offer; * applies to every type that is not listed
    #[arg(value_name = "TYPE", value_parser = snapshot_type)]
    snapshot_type: String,
    /// From created_at to expires_at, written 12h, 7d; whole seconds
    #[arg(long, value_name = "DURATION", value_parser = parse_whole_seconds)]
    ttl: Option<Duration>,
    /// Whether snapshots of the type outlive their event
    #[arg(long, value_name = "BOOL")]
    keep_after_event: Option<bool>,
    /// Also give existing rows of the type expires_at = created_at + TTL, those with an expires_at of their own included
    #[arg(long)]
    restamp: bool,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Set {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let Self { snapshot_type, ttl, keep_after_event, restamp, confirm, output, .. } = self;
        let change = RetentionChange { snapshot_type, ttl, keep_after_event, restamp };
        let preview = change.preview(&database).await?;
        let mut restamped = RestampReport::default();
        if confirm.yes {
            let bar = progress(preview.would_restamp.map(|restamp| restamp.rows()), "rows");
            let done = change.run_once(&database, &preview, &stop_on_signals(), &|rows| bar.inc(rows)).await;
            bar.finish_and_clear();
            restamped = done.map_err(|error| explained(error, POLICY_ROLE))?;
        }
        database.close().await;
        let stopped = restamped.end.map(|end| match end {
            RestampEnd::Stopped => end.to_string(),
            RestampEnd::Storage(error) => format!("{:#}", explained(error, POLICY_ROLE)),
        });
        let report = RetentionReport { dry_run: !confirm.yes, change: preview, restamped: restamped.changed, stopped };
        output.print(&report, table::of_change)?;
        report.failure().map_or(Ok(ExitCode::SUCCESS), |why| bail!(why))
    }
}
