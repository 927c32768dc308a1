//! The end of one event in steps, for what the plain delete cannot do: an event that is large, slow, or has rows that cannot go.
//!
//! Each look finds the ids of some rows, and each step deletes some of those in a transaction of its own, by primary key: so a step does
//! not walk what the steps before it left in the event's index, which stays there while an old transaction is open. A step that fails is
//! tried again with fewer rows, down to the one that fails, which is passed over.

use std::time::Duration;

use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::applied_ahead;
use super::event_end::{Ended, owners_of_mismatched};
use super::step_size::StepSize;
use crate::policy::{EventEnd, Rule};
use crate::storage::database::Database;
use crate::storage::error::{StorageError, Verdict};
use crate::storage::retention::policy::{self, Terms};
use crate::storage::transaction::Limits;

/// Ids that one look finds at most.
const ROWS_PER_LOOK: i64 = 100_000;
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
    /// Up to when rows were made; fixed by the first look, so that nothing made since goes.
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
pub struct Stepped {
    /// What was deleted and kept.
    pub ended: Ended,
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

    /// Whether the first look is done, which fixes the time up to which rows were made.
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

    fn at_most(&self) -> OffsetDateTime {
        self.cutoff.unwrap_or(self.end.occurred_at)
    }

    fn passed_over(&self) -> Vec<Uuid> {
        self.kept.iter().chain(&self.failed).copied().collect()
    }

    fn stepped(&mut self, owners: Option<Vec<Uuid>>) -> Stepped {
        let ended = match owners {
            Some(owners) => Ended::TeamMismatch(owners),
            None => Ended::Deleted { rows: self.deleted, kept: self.kept.len() as u64 },
        };
        let named: Vec<_> = self.failed.iter().take(NAMED_AT_MOST).map(Uuid::to_string).collect();
        let more = if self.failed.len() > named.len() { ", ..." } else { "" };
        let failed =
            format!("{} of the event's snapshots cannot be deleted ({}{more})", self.failed.len(), named.join(", "));
        Stepped { ended, error: self.error.take(), failed, took: self.elapsed() }
    }
}

impl Database {
    /// Goes on with an event until it is done or the time has come; `None`: to be continued.
    ///
    /// An error is one that is not about a row: the database is away, or ended the session. What is committed stays deleted, and the
    /// same call goes on after it.
    pub async fn step_event(
        &self,
        steps: &mut EventSteps,
        size: &mut StepSize,
        until: Option<Instant>,
    ) -> Result<Option<Stepped>, StorageError> {
        loop {
            let given_up = steps.failed.len() >= FAILED_AT_MOST;
            if steps.ids.is_empty() || given_up {
                let owners = if given_up { None } else { self.find_rows(steps).await? };
                if steps.ids.is_empty() || given_up {
                    return Ok(Some(steps.stepped(owners)));
                }
            }
            self.step(steps, size).await?;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }

    /// Ends one event in as many steps as it takes.
    pub async fn end_event_in_steps(&self, end: &EventEnd) -> Result<Stepped, StorageError> {
        let (mut steps, mut size) = (EventSteps::new(*end), StepSize::default());
        loop {
            if let Some(stepped) = self.step_event(&mut steps, &mut size, None).await? {
                return Ok(stepped);
            }
        }
    }

    async fn step(&self, steps: &mut EventSteps, size: &mut StepSize) -> Result<(), StorageError> {
        let from = steps.ids.len() - size.rows().min(steps.ids.len());
        let ids = steps.ids.split_off(from);
        let began = Instant::now();
        match self.delete_rows(steps, &ids).await {
            Ok(Step { deleted, mut kept }) => {
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
        const WHAT: &str = "find the event's snapshots";
        self.within(Limits::PAGE, WHAT, async {
            let mut tx = self.begin_within(Limits::PAGE, Some(Rule::EventEnd)).await?;
            let end = EventEnd { occurred_at: steps.at_most(), ..steps.end };
            let terms = policy::load_checked(&mut tx, &[end.event_id]).await?;
            let mut ends = vec![end];
            if !steps.has_begun() {
                applied_ahead::note(&mut tx, &ends, &terms).await?;
                ends = applied_ahead::as_first_applied(&mut tx, &ends, &terms).await?;
            }
            let (ids, cutoff): (Vec<Uuid>, OffsetDateTime) = sqlx::query_as(
                "SELECT ARRAY(SELECT id FROM ONLY public.snapshots \
                     WHERE event_id = $1 AND ($2::uuid IS NULL OR team_id = $2) AND created_at <= LEAST($3, pg_catalog.now()) \
                       AND (snapshot_type::text = ANY ($4)) = $5 AND id <> ALL ($6) LIMIT $7), LEAST($3, pg_catalog.now())",
            )
            .persistent(false)
            .bind(end.event_id)
            .bind(end.team_id)
            .bind(ends[0].occurred_at)
            .bind(terms.policy.exceptions())
            .bind(terms.policy.keeps_by_default())
            .bind(steps.passed_over())
            .bind(ROWS_PER_LOOK)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            let done = ids.len() as u64 + steps.deleted + steps.passed_over().len() as u64;
            let owners = owners_of_mismatched(&mut tx, &ends, &[(0, done)].into(), &terms).await?.remove(&0);
            Self::commit(tx).await?;
            steps.cutoff = Some(cutoff);
            steps.ids = ids;
            Ok(owners)
        })
        .await
    }

    /// One transaction. Every condition is asked again of the row that is deleted.
    async fn delete_rows(&self, steps: &EventSteps, ids: &[Uuid]) -> Result<Step, StorageError> {
        let limits = if ids.len() == 1 { SINGLE } else { STEP };
        let mut tries = 1;
        loop {
            let done = self.within(limits, "delete some of the event's snapshots", async {
                let mut tx = self.begin_within(limits, Some(Rule::EventEnd)).await?;
                let terms = policy::load_checked(&mut tx, &[]).await?;
                let gone = delete_some(&mut tx, &steps.end, steps.at_most(), &terms, ids).await?;
                let kept = if gone.len() < ids.len() {
                    still_there(&mut tx, &steps.end, steps.at_most(), &terms, ids).await?
                } else {
                    Vec::new()
                };
                Self::commit(tx).await?;
                Ok(Step { deleted: gone.len() as u64, kept })
            });
            match done.await {
                Err(error) if error.verdict() == Verdict::Conflict && tries < CONFLICT_TRIES => tries += 1,
                done => return done,
            }
        }
    }
}

/// A deadlock's victim may simply go again; more often than this it is no chance.
const CONFLICT_TRIES: u32 = 3;

struct Step {
    deleted: u64,
    kept: Vec<Uuid>,
}

/// As SQL: rows of `$1` that the event's end names. `id` is the only condition that an index may serve, whatever the statistics say.
macro_rules! rows_of_step {
    () => {
        "s.id = ANY ($1) AND s.event_id IS NOT DISTINCT FROM $2 AND s.team_id IS NOT DISTINCT FROM COALESCE($3, s.team_id) \
         AND s.created_at <= $4 AND (s.snapshot_type::text = ANY ($5)) = $6"
    };
}

async fn delete_some(
    tx: &mut Transaction<'static, Postgres>,
    end: &EventEnd,
    cutoff: OffsetDateTime,
    terms: &Terms,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, StorageError> {
    const SQL: &str = concat!(
        "WITH gone AS (DELETE FROM ONLY public.snapshots AS s WHERE ",
        rows_of_step!(),
        " RETURNING s.id) SELECT ARRAY(SELECT id FROM gone), pg_catalog.row_security_active('public.snapshots')"
    );
    let (gone, bound): (Vec<Uuid>, bool) = sqlx::query_as(SQL)
        .persistent(false)
        .bind(ids)
        .bind(end.event_id)
        .bind(end.team_id)
        .bind(cutoff)
        .bind(terms.policy.exceptions())
        .bind(terms.policy.keeps_by_default())
        .fetch_one(&mut **tx)
        .await
        .map_err(StorageError::during("delete some of the event's snapshots"))?;
    terms.check_still_seen(bound)?;
    Ok(gone)
}

/// The rows that the delete has found and something of the backend's has kept.
async fn still_there(
    tx: &mut Transaction<'static, Postgres>,
    end: &EventEnd,
    cutoff: OffsetDateTime,
    terms: &Terms,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, StorageError> {
    const SQL: &str = concat!("SELECT s.id FROM ONLY public.snapshots AS s WHERE ", rows_of_step!());
    sqlx::query_scalar(SQL)
        .persistent(false)
        .bind(ids)
        .bind(end.event_id)
        .bind(end.team_id)
        .bind(cutoff)
        .bind(terms.policy.exceptions())
        .bind(terms.policy.keeps_by_default())
        .fetch_all(&mut **tx)
        .await
        .map_err(StorageError::during("count what the backend keeps"))
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
        let text = |count| failed(count).stepped(None).failed;
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
        assert_eq!(steps.stepped(None).ended, Ended::Deleted { rows: 3, kept: 1 });
    }
}
