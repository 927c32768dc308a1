use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::local_store::{Entry, read};
use crate::cli::arguments::uuid;
use crate::cli::interrupt::interrupted;
use crate::cli::output::{OutputOptions, Rows, if_room, one_line, progress, text};
use crate::clock;
use crate::config::DatabaseOptions;
use crate::storage::{Database, NewRow};

/// Moves the backend's local store (page_snapshots/snapshots.json) into the table
///
/// FILE holds {"snapshots": {OLD_ID: {"type": …, "event_id": …, "created_at": …, "expires_at": …, "params": …, "data": …}, …}}, as the
/// backend writes it; type, created_at and data are required, and a time without an offset is UTC.
///
/// Types and times are kept. Each snapshot gets a UUID derived from the team and its old id, so a second import changes nothing, and an
/// interrupted one is completed by the same command; one that was deleted since would come again. The mapping is printed, and what is left
/// out, with the reason, PostgreSQL's own where the database refuses a row. Exit code 1 when anything but expired snapshots is left out.
/// --dry-run checks the file, the team, the events and what exists already; it does not try the inserts. The role needs SELECT on
/// public.teams and public.events, and SELECT and INSERT on public.snapshots, within the team's row-level security.
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

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_import: Option<usize>,
    imported: usize,
    already_there: usize,
    expired: usize,
    left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    snapshots: Vec<Fate>,
}

#[derive(Debug, Serialize)]
struct Fate {
    old_id: String,
    id: Uuid,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Imported,
    WouldImport,
    AlreadyThere,
    Expired,
    LeftOut,
    NotReached,
}

/// Rows a transaction.
const BATCH: usize = 200;

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let entries = read(&self.file, self.team_id)?;
        let database = Database::new(self.database.database_url.as_ref(), 1)?;
        if !database.team_is_there(self.team_id).await? {
            bail!("there is no team {} in public.teams", self.team_id);
        }
        let answer = self.import(&database, entries).await;
        database.close().await;
        let answer = answer?;
        self.output.print(&answer, table)?;
        match (&answer.stopped, answer.left_out) {
            (Some(why), _) => bail!("{why}"),
            (None, 0) => Ok(ExitCode::SUCCESS),
            (None, 1) => bail!("1 snapshot was left out; the answer says which and why"),
            (None, left_out) => bail!("{left_out} snapshots were left out; the answer says which and why"),
        }
    }

    async fn import(&self, database: &Database, entries: Vec<Entry>) -> anyhow::Result<Answer> {
        let now = clock::now();
        let bar = progress(Some(entries.len() as u64), "snapshots");
        let mut interrupted = std::pin::pin!(interrupted());
        let (mut fates, mut stopped) = (Vec::with_capacity(entries.len()), None);
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut batch = Vec::with_capacity(BATCH);
            for Entry { old_id, id, row } in entries.by_ref().take(BATCH) {
                let fate = |outcome, reason| Fate { old_id, id, outcome, reason };
                match row {
                    Err(why) => fates.push(fate(Outcome::LeftOut, Some(why))),
                    Ok(row) if row.expires_at.is_some_and(|at| at <= now) => fates.push(fate(Outcome::Expired, None)),
                    Ok(row) => {
                        batch.push((fates.len(), row));
                        fates.push(fate(Outcome::NotReached, None));
                    }
                }
            }
            if stopped.is_none() {
                let done = tokio::select! {
                    biased;
                    () = &mut interrupted => Err(anyhow::anyhow!("interrupted")),
                    done = self.insert(database, batch, &mut fates) => done,
                };
                stopped = done.err().map(|error| one_line(&error));
            }
            bar.set_position(fates.len() as u64);
        }
        bar.finish_and_clear();
        let count = |outcome| fates.iter().filter(|fate| fate.outcome == outcome).count();
        Ok(Answer {
            dry_run: self.dry_run,
            would_import: self.dry_run.then(|| count(Outcome::WouldImport)),
            imported: count(Outcome::Imported),
            already_there: count(Outcome::AlreadyThere),
            expired: count(Outcome::Expired),
            left_out: count(Outcome::LeftOut),
            stopped,
            snapshots: fates,
        })
    }

    /// Snapshots of events that do not exist, and those that the database refuses, are left out.
    async fn insert(
        &self,
        database: &Database,
        mut batch: Vec<(usize, NewRow)>,
        fates: &mut [Fate],
    ) -> anyhow::Result<()> {
        let named: HashSet<_> = batch.iter().filter_map(|(_, row)| row.event_id).collect();
        let events = database.events_there(self.team_id, &named.into_iter().collect::<Vec<_>>()).await?;
        batch.retain(|(at, row)| {
            let unknown = row.event_id.filter(|event| !events.contains(event));
            if let Some(event) = unknown {
                fates[*at].outcome = Outcome::LeftOut;
                fates[*at].reason = Some(format!("there is no event {event} in public.events"));
            }
            unknown.is_none()
        });
        let (places, rows): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        if self.dry_run {
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            let there = database.snapshots_there(self.team_id, &ids).await?;
            for (at, id) in places.into_iter().zip(ids) {
                fates[at].outcome = if there.contains(&id) { Outcome::AlreadyThere } else { Outcome::WouldImport };
            }
            return Ok(());
        }
        // In halves down to the single row, as long as anything is refused: one row costs nobody but itself.
        let mut parts = vec![(0, rows.len())];
        while let Some((from, to)) = parts.pop() {
            let error = match database.insert_snapshots(self.team_id, &rows[from..to]).await {
                Ok(inserted) => {
                    for at in from..to {
                        let new = inserted.contains(&rows[at].id);
                        fates[places[at]].outcome = if new { Outcome::Imported } else { Outcome::AlreadyThere };
                    }
                    continue;
                }
                Err(error) => error,
            };
            // Where no rows at all cannot be inserted either (an outage, a missing privilege), no row is at fault.
            if database.insert_snapshots(self.team_id, &[]).await.is_err() {
                return Err(error).context("stopped; the same command again imports the rest");
            }
            if to - from == 1 {
                let fate = &mut fates[places[from]];
                (fate.outcome, fate.reason) = (Outcome::LeftOut, Some(one_line(&error.into())));
            } else {
                let middle = from.midpoint(to);
                parts.extend([(middle, to), (from, middle)]);
            }
        }
        Ok(())
    }
}

fn table(answer: &Answer) -> Rows {
    let rows = answer.snapshots.iter().fold(
        Rows::new(["old id".into(), "outcome".into(), text("reason"), if_room("id")]),
        |rows, fate| {
            let outcome = match fate.outcome {
                Outcome::Imported => "imported",
                Outcome::WouldImport => "to import",
                Outcome::AlreadyThere => "already there",
                Outcome::Expired => "expired",
                Outcome::LeftOut => "left out",
                Outcome::NotReached => "not reached",
            };
            rows.row([
                fate.old_id.clone(),
                outcome.to_owned(),
                fate.reason.clone().unwrap_or_default(),
                fate.id.to_string(),
            ])
        },
    );
    let (verb, number) = answer.would_import.map_or(("imported", answer.imported), |number| ("would import", number));
    let counts = format!(
        "{verb} {number}, already there {}, expired {}, left out {}",
        answer.already_there, answer.expired, answer.left_out
    );
    rows.remark(match (&answer.stopped, answer.dry_run) {
        (None, true) => format!("{counts}; nothing was changed (--dry-run)"),
        _ => counts,
    })
}
