use std::collections::HashSet;
use std::path::Path;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::ImportError;
use super::local_store::{Entry, read};
use super::report::{EntryOutcome, ImportReport, Outcome};
use crate::clock;
use crate::storage::{Database, NewRow, StorageError};

/// Imports a store for a team.
pub struct Importer<'a> {
    /// Where to.
    pub database: &'a Database,
    /// Whose snapshots they are.
    pub team_id: Uuid,
    /// Ends it. What is committed stays, and the same import does the rest.
    pub stop: &'a CancellationToken,
    /// Called with the number of entries done and the number of all.
    pub on_progress: &'a (dyn Fn(usize, usize) + Send + Sync),
}

/// Rows per transaction.
const ROWS_PER_BATCH: usize = 200;

impl Importer<'_> {
    /// What an import of the file would do: checks the file, the team, the events and which snapshots exist. It does not try the inserts.
    ///
    /// # Errors
    /// As for [`Importer::run`].
    pub async fn preview(&self, file: &Path) -> Result<ImportReport, ImportError> {
        self.import(file, true).await
    }

    /// Imports the file. Each snapshot gets an id that follows from the team and its old id, so a second import changes nothing.
    ///
    /// # Errors
    /// Where the file is no store, or the team does not exist. What fails later is in the report.
    pub async fn run(&self, file: &Path) -> Result<ImportReport, ImportError> {
        self.import(file, false).await
    }

    async fn import(&self, file: &Path, dry_run: bool) -> Result<ImportReport, ImportError> {
        let entries = read(file, self.team_id)?;
        let team_exists = tokio::select! {
            exists = self.database.team_exists(self.team_id) => exists?,
            () = self.stop.cancelled() => return Err(ImportError::Interrupted),
        };
        if !team_exists {
            return Err(ImportError::NoTeam(self.team_id));
        }
        let (now, all) = (clock::now(), entries.len());
        let (mut outcomes, mut stopped) = (Vec::with_capacity(all), None);
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut batch = Vec::with_capacity(ROWS_PER_BATCH);
            for Entry { old_id, id, row } in entries.by_ref().take(ROWS_PER_BATCH) {
                let outcome = |outcome, reason| EntryOutcome { old_id, id, outcome, reason };
                match row {
                    Err(why) => outcomes.push(outcome(Outcome::LeftOut, Some(why))),
                    Ok(row) if row.expires_at.is_some_and(|at| at <= now) => {
                        outcomes.push(outcome(Outcome::Expired, None));
                    }
                    Ok(row) => {
                        batch.push((outcomes.len(), row));
                        outcomes.push(outcome(Outcome::NotReached, None));
                    }
                }
            }
            if stopped.is_none() {
                stopped = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => Some("interrupted".to_owned()),
                    done = self.import_batch(batch, &mut outcomes, dry_run) => done.err(),
                };
            }
            (self.on_progress)(outcomes.len(), all);
        }
        Ok(ImportReport::new(dry_run, outcomes, stopped))
    }

    /// Snapshots of events that do not exist are left out.
    async fn import_batch(
        &self,
        mut batch: Vec<(usize, NewRow)>,
        outcomes: &mut [EntryOutcome],
        dry_run: bool,
    ) -> Result<(), String> {
        let named: HashSet<_> = batch.iter().filter_map(|(_, row)| row.event_id).collect();
        let events = self.database.events_existing(self.team_id, &named.into_iter().collect::<Vec<_>>()).await;
        let events = events.map_err(|error| error.one_line())?;
        batch.retain(|(at, row)| {
            let unknown = row.event_id.filter(|event| !events.contains(event));
            if let Some(event) = unknown {
                outcomes[*at].outcome = Outcome::LeftOut;
                outcomes[*at].reason = Some(format!("there is no event {event} in public.events"));
            }
            unknown.is_none()
        });
        let (places, rows): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        if dry_run {
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            let existing = self.database.snapshots_existing(self.team_id, &ids).await;
            let existing = existing.map_err(|error| error.one_line())?;
            for (at, id) in places.into_iter().zip(ids) {
                outcomes[at].outcome =
                    if existing.contains(&id) { Outcome::AlreadyThere } else { Outcome::WouldImport };
            }
            return Ok(());
        }
        self.insert(&places, &rows, outcomes)
            .await
            .map_err(|error| format!("stopped; the same command again imports the rest: {}", error.one_line()))
    }

    /// In halves down to the single row, as long as anything is refused: a row that the database refuses is left out alone.
    async fn insert(
        &self,
        places: &[usize],
        rows: &[NewRow],
        outcomes: &mut [EntryOutcome],
    ) -> Result<(), StorageError> {
        let mut parts = vec![(0, rows.len())];
        while let Some((from, to)) = parts.pop() {
            let error = match self.database.snapshots_insert(self.team_id, &rows[from..to]).await {
                Ok(inserted) => {
                    for at in from..to {
                        let new = inserted.contains(&rows[at].id);
                        outcomes[places[at]].outcome = if new { Outcome::Imported } else { Outcome::AlreadyThere };
                    }
                    continue;
                }
                Err(error) => error,
            };
            // Where no rows at all cannot be inserted either (an outage, a missing privilege), no row is at fault.
            if self.database.snapshots_insert(self.team_id, &[]).await.is_err() {
                return Err(error);
            }
            if to - from == 1 {
                let entry = &mut outcomes[places[from]];
                (entry.outcome, entry.reason) = (Outcome::LeftOut, Some(error.one_line()));
            } else {
                let middle = from.midpoint(to);
                parts.extend([(middle, to), (from, middle)]);
            }
        }
        Ok(())
    }
}
