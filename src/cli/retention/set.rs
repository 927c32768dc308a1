use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::list::at_event_end;
use crate::cli::database::{explained, open};
use crate::cli::interrupt::stop_on_signals;
use crate::cli::output::{ConfirmOptions, OutputOptions};
use crate::config::{DatabaseOptions, parse_whole_seconds};
use crate::passes::{RestampEnd, RestampReport, Retention, RetentionChange, RetentionPreview};
use crate::storage::Database;
use crate::terminal::{Table, duration, progress};

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

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    #[serde(flatten)]
    change: RetentionPreview,
    restamped: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

impl Set {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let Self { snapshot_type, ttl, keep_after_event, restamp, confirm, output, .. } = self;
        let change = RetentionChange { snapshot_type, ttl, keep_after_event, restamp };
        let preview = change.preview(&database).await?;
        let report = if confirm.yes { apply(&change, &preview, &database).await? } else { RestampReport::default() };
        database.close().await;
        let stopped = report.end.map(|end| match end {
            RestampEnd::Stopped => end.to_string(),
            RestampEnd::Storage(error) => format!("{:#}", explained(error, DENIED)),
        });
        let answer = Answer { dry_run: !confirm.yes, change: preview, restamped: report.changed, stopped };
        output.print(&answer, table)?;
        match answer.stopped {
            None => Ok(ExitCode::SUCCESS),
            Some(why) => bail!("stopped: {why}; the same command goes on where it stopped"),
        }
    }
}

async fn apply(
    change: &RetentionChange,
    preview: &RetentionPreview,
    database: &Database,
) -> anyhow::Result<RestampReport> {
    let bar = progress(preview.would_restamp.map(|restamp| restamp.rows()), "rows");
    let report = change.run_once(database, preview, &stop_on_signals(), &|rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    report.map_err(|error| explained(error, DENIED))
}

const DENIED: &str = "this needs the role that ran `migrate`, in DATABASE_URL";

fn table(answer: &Answer) -> Table {
    let change = &answer.change;
    let row =
        |when: &str, of: Retention| [when.into(), duration(of.ttl_seconds), at_event_end(of.keep_after_event).into()];
    let before = change.before.map(|before| row("before", before));
    let rows = Table::new(["", "ttl", "at the event's end"]);
    let rows = before.into_iter().chain([row("after", change.after)]).fold(rows, Table::row);
    let mut footer =
        vec![format!("{}, {} with an event", existing(change.rows, &change.snapshot_type), change.rows_with_event)];
    if let Some(restamp) = change.would_restamp {
        footer.push(format!(
            "restamp: {} expire later, {} earlier, {} that never expired get an expiry; {} of these expire at once (the next sweep takes those); \
             {} without created_at stay as they are",
            restamp.later, restamp.earlier, restamp.without_expires_at, restamp.expired_at_once, restamp.without_created_at
        ));
    }
    footer.push(match (&answer.stopped, answer.dry_run) {
        (Some(_), _) => format!("restamped {} so far", answer.restamped),
        (None, true) if change.permitted => "nothing was changed, add --yes to do it".to_owned(),
        (None, true) => format!("nothing was changed, and --yes would fail: {DENIED}"),
        (None, false) if change.would_restamp.is_some() => format!("changed, restamped {}", answer.restamped),
        (None, false) => "changed; existing rows keep their expires_at (--restamp changes them)".to_owned(),
    });
    rows.footer(footer.join("\n"))
}

fn existing(rows: i64, of_type: &str) -> String {
    let (plural, exist) = if rows == 1 { ("", "exists") } else { ("s", "exist") };
    match of_type {
        "*" => format!("{rows} snapshot{plural} of a type that is not listed {exist}"),
        name => format!("{rows} snapshot{plural} of type {name} {exist}"),
    }
}

fn snapshot_type(text: &str) -> Result<String, String> {
    if text.trim() == text && !text.is_empty() && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("a type as it stands in snapshot_type, or *".to_owned())
    }
}
