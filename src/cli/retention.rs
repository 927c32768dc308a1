use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::interrupt::stop_on_signals;
use super::output::{ConfirmOptions, OutputOptions, progress};
use crate::config::{DatabaseOptions, parse_duration};
use crate::passes::{RestampEnd, RestampPass};
use crate::storage::{Database, Restamp, RowsOfType, StorageError, TypeRetention};
use crate::terminal::Table;

/// The TTL, and what happens at an event's end, by snapshot type
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Set(Set),
}

/// Lists the policy, and how many snapshots each row of it applies to
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Changes the policy for a type
///
/// New rows follow at once: an insert without expires_at gets the new TTL, and running workers read whether the type outlives its event with
/// each batch. Existing rows keep their expires_at unless --restamp is given. Needs the role that ran `migrate`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args(["ttl", "keep_after_event", "restamp"])))]
struct Set {
    /// The type, such as offer; * applies to every type that is not listed
    #[arg(value_name = "TYPE", value_parser = snapshot_type)]
    snapshot_type: String,
    /// From created_at to expires_at, written 12h, 7d; whole seconds
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    ttl: Option<i64>,
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
struct Entry {
    snapshot_type: String,
    ttl: String,
    #[serde(flatten)]
    retention: Retention,
    rows: i64,
    rows_with_event: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Retention {
    ttl_seconds: i64,
    keep_after_event: bool,
}

#[derive(Debug, Serialize)]
struct Change {
    dry_run: bool,
    snapshot_type: String,
    /// Whether the role may do it.
    permitted: bool,
    /// Absent for a type that had no row of its own; `*` applied to it.
    before: Option<Retention>,
    after: Retention,
    rows: i64,
    rows_with_event: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_restamp: Option<Restamp>,
    restamped: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Set(set) => set.run().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        database.check_access().await?;
        let policy = database.retention_list().await?;
        database.close().await;
        let entries: Vec<_> = policy.into_iter().map(Entry::from).collect();
        self.output.print(&entries, |entries| {
            let rows = Table::new(["type", "ttl", "at the event's end", "snapshots", "with an event"]);
            let rows = entries.iter().fold(rows, |rows, entry| {
                rows.row([
                    entry.snapshot_type.clone(),
                    entry.ttl.clone(),
                    at_event_end(entry.retention.keep_after_event).to_owned(),
                    entry.rows.to_string(),
                    entry.rows_with_event.to_string(),
                ])
            });
            rows.footer("* applies to every type that is not listed")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        database.check_access().await?;
        let mut change = self.plan(&database).await?;
        if self.confirm.yes {
            self.apply(&database, &mut change).await?;
        }
        database.close().await;
        self.output.print(&change, table)?;
        match change.stopped {
            None => Ok(ExitCode::SUCCESS),
            Some(why) => bail!("stopped: {why}; the same command goes on where it stopped"),
        }
    }

    async fn plan(&self, database: &Database) -> anyhow::Result<Change> {
        let policy = database.retention_list().await?;
        let find = |name: &str| policy.iter().find(|row| row.snapshot_type == name).map(Retention::of);
        let before = find(&self.snapshot_type);
        // Without the row for every other type there is nothing to inherit from, but it can be put back.
        let given = self.ttl.zip(self.keep_after_event);
        let given = given.map(|(ttl_seconds, keep_after_event)| Retention { ttl_seconds, keep_after_event });
        let Some(inherited) = before.or_else(|| find("*")).or(given) else {
            bail!(
                "the retention policy has no row for *; put it back with `retention set '*' --ttl 7d --keep-after-event false --yes`"
            );
        };
        let after = Retention {
            ttl_seconds: self.ttl.unwrap_or(inherited.ttl_seconds),
            keep_after_event: self.keep_after_event.unwrap_or(inherited.keep_after_event),
        };
        let RowsOfType { all: rows, with_event: rows_with_event } =
            database.retention_count(&self.snapshot_type).await?;
        let would_restamp = if self.restamp {
            let pass = RestampPass { snapshot_type: &self.snapshot_type, ttl: after.ttl() };
            Some(pass.preview(database).await?)
        } else {
            None
        };
        Ok(Change {
            dry_run: !self.confirm.yes,
            snapshot_type: self.snapshot_type.clone(),
            permitted: database.retention_may_set(self.restamp).await?,
            before,
            after,
            rows,
            rows_with_event,
            would_restamp,
            restamped: 0,
            stopped: None,
        })
    }

    async fn apply(&self, database: &Database, change: &mut Change) -> anyhow::Result<()> {
        let (of_type, after) = (&self.snapshot_type, change.after);
        if change.before != Some(after) {
            database.retention_set(of_type, after.ttl(), after.keep_after_event).await.map_err(explained)?;
        }
        let Some(restamp) = change.would_restamp else { return Ok(()) };
        let rows = (restamp.earlier + restamp.later + restamp.without_expires_at).unsigned_abs();
        let bar = progress(Some(rows), "rows");
        let pass = RestampPass { snapshot_type: of_type, ttl: after.ttl() };
        let report = pass.run_once(database, &stop_on_signals(), &|rows| bar.inc(rows)).await;
        change.restamped = report.changed;
        change.stopped = report.end.map(|end| match end {
            RestampEnd::Stopped => end.to_string(),
            RestampEnd::Storage(error) => format!("{:#}", explained(error)),
        });
        bar.finish_and_clear();
        Ok(())
    }
}

impl From<TypeRetention> for Entry {
    fn from(row: TypeRetention) -> Self {
        Self {
            ttl: duration(Retention::of(&row).ttl_seconds),
            retention: Retention::of(&row),
            snapshot_type: row.snapshot_type,
            rows: row.rows.all,
            rows_with_event: row.rows.with_event,
        }
    }
}

impl Retention {
    const fn of(row: &TypeRetention) -> Self {
        Self { ttl_seconds: row.ttl.as_secs().cast_signed(), keep_after_event: row.keep_after_event }
    }

    const fn ttl(self) -> Duration {
        Duration::from_secs(self.ttl_seconds.unsigned_abs())
    }
}

const DENIED: &str = "this needs the role that ran `migrate`, in DATABASE_URL";

fn explained(error: StorageError) -> anyhow::Error {
    let denied = error.is_permission_denied();
    let error = anyhow::Error::from(error);
    if denied { error.context(DENIED) } else { error }
}

fn table(change: &Change) -> Table {
    let row = |when: &str, of: Retention| {
        [when.to_owned(), duration(of.ttl_seconds), at_event_end(of.keep_after_event).to_owned()]
    };
    let rows = Table::new(["", "ttl", "at the event's end"]);
    let rows = match change.before {
        Some(before) => rows.row(row("before", before)),
        None => rows,
    };
    let rows = rows.row(row("after", change.after));
    let mut remarks =
        vec![format!("{}, {} with an event", existing(change.rows, &change.snapshot_type), change.rows_with_event)];
    if let Some(restamp) = change.would_restamp {
        remarks.push(format!(
            "restamp: {} expire later, {} earlier, {} that never expired get an expiry; {} of these expire at once (the next sweep takes those); \
             {} without created_at stay as they are",
            restamp.later,
            restamp.earlier,
            restamp.without_expires_at,
            restamp.expired_at_once,
            restamp.without_created_at
        ));
    }
    remarks.push(match (&change.stopped, change.dry_run) {
        (Some(_), _) => format!("restamped {} so far", change.restamped),
        (None, true) if change.permitted => "nothing was changed, add --yes to do it".to_owned(),
        (None, true) => format!("nothing was changed, and --yes would fail: {DENIED}"),
        (None, false) if change.would_restamp.is_some() => format!("changed, restamped {}", change.restamped),
        (None, false) => "changed; existing rows keep their expires_at (--restamp changes them)".to_owned(),
    });
    rows.footer(remarks.join("\n"))
}

fn existing(rows: i64, of_type: &str) -> String {
    let exist = if rows == 1 { "1 snapshot".to_owned() } else { format!("{rows} snapshots") };
    let exists = if rows == 1 { "exists" } else { "exist" };
    match of_type {
        "*" => format!("{exist} of a type that is not listed {exists}"),
        name => format!("{exist} of type {name} {exists}"),
    }
}

const fn at_event_end(keep: bool) -> &'static str {
    if keep { "kept" } else { "deleted" }
}

/// As `--ttl` reads it.
fn duration(seconds: i64) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn whole_seconds(text: &str) -> Result<i64, String> {
    let ttl = parse_duration(text)?;
    match i64::try_from(ttl.as_secs()) {
        Ok(seconds) if ttl == Duration::from_secs(ttl.as_secs()) => Ok(seconds),
        _ => Err("whole seconds, written 30s, 5m, 12h or 7d".to_owned()),
    }
}

fn snapshot_type(text: &str) -> Result<String, String> {
    if text.trim() == text && !text.is_empty() && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("a type as it stands in snapshot_type, or *".to_owned())
    }
}
