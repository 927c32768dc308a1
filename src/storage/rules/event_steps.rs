//! The end of one event in steps, for what the plain delete cannot do: an event that is large, slow, or has rows that cannot go.
//!
//! Ids of some rows are found at a time, and each step deletes some of those in a transaction of its own, by primary key: so a step does
//! not walk what the steps before it left in the event's index, which stays there while an old transaction is open. A step that fails is
//! tried again with fewer rows, down to the one that fails, which is passed over.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::applied_ahead;
use super::event_end::{EventEndOutcome, bound, owners_of_mismatched};
use super::step_size::StepSize;
use crate::policy::{EventEnd, Rule};
use crate::storage::database::Database;
use crate::storage::error::{StorageError, Verdict};
use crate::storage::limits::Limits;
use crate::storage::retention::delete_terms::DeleteTerms;
use crate::storage::statement::{query_as, query_scalar, sql};
use crate::storage::transaction::Tx;

/// Ids that are found at a time.
const ROWS_PER_PAGE: i64 = 100_000;
/// Rows that fail one by one before the event is given up. Rows that the backend keeps fail nothing, however many they are.
const FAILED_AT_MOST: usize = 100;
/// Ids that an error names.
const NAMED_AT_MOST: usize = 5;

/// For a step of several rows: its neighbours wait, and a smaller one may do.
const STEP: Limits = Limits { lock: Duration::from_millis(500), statement: Duration::from_secs(1) };
/// For a single row, which cannot be made smaller.
const SINGLE: Limits = Limits { lock: Duration::from_millis(500), statement: Duration::from_secs(5) };

/// An event that is ended in steps: how far it is.
#[derive(Debug)]
pub struct EventSteps {
    end: EventEnd,
    /// Up to when rows were made; fixed when rows are first found, so that nothing made since goes.
    cutoff: Option<OffsetDateTime>,
    /// Found and not tried yet.
    ids: Vec<Uuid>,
    deleted: u64,
    kept: Vec<Uuid>,
    failed: Vec<Uuid>,
    error: Option<StorageError>,
    began: Instant,
}

/// What the steps of an event came to.
#[derive(Debug)]
pub struct StepsOutcome {
    /// What was deleted and kept.
    pub ended: EventEndOutcome,
    /// Where rows failed: how the last of them did.
    pub error: Option<StorageError>,
    /// Where rows failed: how many and which, for a person.
    pub failed: String,
    /// From the first step to the last.
    pub took: Duration,
}

impl EventSteps {
    /// Nothing done yet.
    #[must_use]
    pub fn new(end: EventEnd) -> Self {
        Self {
            end,
            cutoff: None,
            ids: Vec::new(),
            deleted: 0,
            kept: Vec::new(),
            failed: Vec::new(),
            error: None,
            began: Instant::now(),
        }
    }

    /// The event.
    #[must_use]
    pub const fn end(&self) -> &EventEnd {
        &self.end
    }

    /// Whether rows were looked for, which fixes the time up to which they were made.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.cutoff.is_some()
    }

    /// Another end of the same event: the later one counts. To be called before the first step.
    pub fn extend_to(&mut self, occurred_at: OffsetDateTime) {
        self.end.occurred_at = self.end.occurred_at.max(occurred_at);
    }

    /// Rows deleted so far.
    #[must_use]
    pub const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Since the first step.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn end_at_cutoff(&self) -> EventEnd {
        EventEnd { occurred_at: self.cutoff.unwrap_or(self.end.occurred_at), ..self.end }
    }

    fn passed_over(&self) -> Vec<Uuid> {
        self.kept.iter().chain(&self.failed).copied().collect()
    }

    fn outcome(&mut self, owners: Option<Vec<Uuid>>) -> StepsOutcome {
        let ended = match owners {
            Some(owners) => EventEndOutcome::TeamMismatch(owners),
            None => EventEndOutcome::Deleted { rows: self.deleted, kept: self.kept.len() as u64 },
        };
        let named: Vec<_> = self.failed.iter().take(NAMED_AT_MOST).map(Uuid::to_string).collect();
        let more = if self.failed.len() > named.len() { ", ..." } else { "" };
        let failed =
            format!("{} of the event's snapshots cannot be deleted ({}{more})", self.failed.len(), named.join(", "));
        StepsOutcome { ended, error: self.error.take(), failed, took: self.elapsed() }
    }
}

impl Database {
    /// Goes on with an event until it is done or the time has come; `None`: to be continued.
    ///
    /// An error is one that is not about a row: the database is away, or ended the session. What is committed stays deleted, and the
    /// same call goes on after it.
    pub async fn event_steps_advance(
        &self,
        steps: &mut EventSteps,
        size: &mut StepSize,
        until: Option<Instant>,
    ) -> Result<Option<StepsOutcome>, StorageError> {
        loop {
            let given_up = steps.failed.len() >= FAILED_AT_MOST;
            if steps.ids.is_empty() || given_up {
                let owners = if given_up { None } else { self.find_rows(steps).await? };
                if steps.ids.is_empty() || given_up {
                    return Ok(Some(steps.outcome(owners)));
                }
            }
            self.step(steps, size).await?;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }

    /// Ends one event in as many steps as it takes.
    pub async fn event_steps_run(&self, end: &EventEnd) -> Result<StepsOutcome, StorageError> {
        let (mut steps, mut size) = (EventSteps::new(*end), StepSize::default());
        loop {
            if let Some(stepped) = self.event_steps_advance(&mut steps, &mut size, None).await? {
                return Ok(stepped);
            }
        }
    }

    async fn step(&self, steps: &mut EventSteps, size: &mut StepSize) -> Result<(), StorageError> {
        let from = steps.ids.len() - size.rows().min(steps.ids.len());
        let ids = steps.ids.split_off(from);
        let began = Instant::now();
        match self.delete_rows(steps, &ids).await {
            Ok(StepResult { deleted, mut kept }) => {
                steps.deleted += deleted;
                steps.kept.append(&mut kept);
                size.took(began.elapsed());
            }
            Err(error) if !error.leaves_session_alive() => {
                steps.ids.extend(ids);
                return Err(error);
            }
            Err(_) if size.shrink(ids.len()) => steps.ids.extend(ids),
            Err(error) => {
                steps.failed.extend(ids);
                steps.error = Some(error);
            }
        }
        Ok(())
    }

    /// Fills in ids. Where none is left and nothing was done: the owners, if the event is another team's.
    async fn find_rows(&self, steps: &mut EventSteps) -> Result<Option<Vec<Uuid>>, StorageError> {
        #[derive(sqlx::FromRow)]
        struct Found {
            ids: Vec<Uuid>,
            cutoff: OffsetDateTime,
        }
        let mut tx = self.begin_delete(Limits::PAGE, Rule::EventEnd, "find the event's snapshots").await?;
        let end = steps.end_at_cutoff();
        let terms = DeleteTerms::load_to_end_events(&mut tx, &[end.event_id]).await?;
        let mut ends = vec![end];
        if !steps.has_begun() {
            applied_ahead::note(&mut tx, &ends, &terms).await?;
            ends = applied_ahead::as_first_applied(&mut tx, &ends, &terms).await?;
        }
        let statement = query_as(sql!("event_steps_find.sql", "event_ends.sql", "event_end_rule.sql"));
        let statement = bound(statement, &ends, &terms.policy).bind(steps.passed_over()).bind(ROWS_PER_PAGE);
        let Found { ids, cutoff } = tx.fetch_one(statement).await?;
        let done = ids.len() as u64 + steps.deleted + steps.passed_over().len() as u64;
        let owners = owners_of_mismatched(&mut tx, &ends, &[(0, done)].into(), &terms).await?.remove(&0);
        tx.commit(()).await?;
        steps.cutoff = Some(cutoff);
        steps.ids = ids;
        Ok(owners)
    }

    async fn delete_rows(&self, steps: &EventSteps, ids: &[Uuid]) -> Result<StepResult, StorageError> {
        let mut tries = 1;
        loop {
            match self.try_to_delete_rows(steps, ids).await {
                Err(error) if error.verdict() == Verdict::Conflict && tries < CONFLICT_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    /// One transaction. Every condition is asked again of the row that is deleted.
    async fn try_to_delete_rows(&self, steps: &EventSteps, ids: &[Uuid]) -> Result<StepResult, StorageError> {
        let limits = if ids.len() == 1 { SINGLE } else { STEP };
        let mut tx = self.begin_delete(limits, Rule::EventEnd, "delete some of the event's snapshots").await?;
        let terms = DeleteTerms::load_to_end_events(&mut tx, &[]).await?;
        let end = [steps.end_at_cutoff()];
        let gone = delete(&mut tx, &end, &terms, ids).await?;
        let kept = if gone.len() < ids.len() { kept(&mut tx, &end, &terms, ids).await? } else { Vec::new() };
        tx.commit(StepResult { deleted: gone.len() as u64, kept }).await
    }
}

/// A deadlock's victim may simply go again; more often than this it is no coincidence.
const CONFLICT_TRIES: u32 = 3;

struct StepResult {
    deleted: u64,
    kept: Vec<Uuid>,
}

async fn delete(tx: &mut Tx, end: &[EventEnd], terms: &DeleteTerms, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
    #[derive(sqlx::FromRow)]
    struct Gone {
        ids: Vec<Uuid>,
        is_bound: bool,
    }
    let statement = query_as(sql!("event_steps_delete.sql", "event_ends.sql", "event_end_rule.sql"));
    let gone: Gone = tx.fetch_one(bound(statement, end, &terms.policy).bind(ids)).await?;
    terms.check_still_seen(gone.is_bound)?;
    Ok(gone.ids)
}

/// The rows that the delete has found and a trigger or rule of the backend has kept.
async fn kept(tx: &mut Tx, end: &[EventEnd], terms: &DeleteTerms, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
    let statement = query_scalar(sql!("event_steps_kept.sql", "event_ends.sql", "event_end_rule.sql"));
    tx.fetch_all(bound(statement, end, &terms.policy).bind(ids)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(count: u128) -> EventSteps {
        let end = EventEnd { event_id: Uuid::nil(), team_id: None, occurred_at: OffsetDateTime::UNIX_EPOCH };
        EventSteps { failed: (1..=count).map(Uuid::from_u128).collect(), deleted: 3, ..EventSteps::new(end) }
    }

    #[test]
    fn some_rows_are_named_and_whether_there_are_more() {
        let text = |count| failed(count).outcome(None).failed;
        assert_eq!(text(1), format!("1 of the event's snapshots cannot be deleted ({})", Uuid::from_u128(1)));
        assert!(text(5).starts_with("5 of ") && text(5).ends_with(&format!("{})", Uuid::from_u128(5))), "{}", text(5));
        assert!(
            text(9).starts_with("9 of ") && text(9).ends_with(&format!("{}, ...)", Uuid::from_u128(5))),
            "{}",
            text(9)
        );
    }

    #[test]
    fn rows_that_failed_and_rows_that_were_kept_are_passed_over() {
        let mut steps = failed(2);
        steps.kept.push(Uuid::from_u128(7));
        assert_eq!(steps.passed_over(), [7, 1, 2].map(Uuid::from_u128));
        assert_eq!(steps.outcome(None).ended, EventEndOutcome::Deleted { rows: 3, kept: 1 });
    }
}
