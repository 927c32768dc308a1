//! Statements of the first rule: the end of an event.
//!
//! A plain `DELETE … USING unnest(…)` is faster than one with a row limit, because the limit needs the rows to be found first
//! and deleted second. So the plain one is tried first, under a short time-out; an event too large for it is emptied by
//! the limited one, in several transactions.

use std::collections::{HashMap, HashSet};

use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, Limits, StorageError, retention_policy};
use crate::policy::{EventEnd, RetentionPolicy, Rule};

/// What became of each event end of a call, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Deleted so many rows, perhaps none.
    Deleted(u64),
    /// Nothing to delete, and the event's snapshots belong to another team than the one named.
    TeamMismatch,
}

/// Rows an event's end would delete, by type.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TypeCount {
    /// The snapshots' type.
    pub snapshot_type: String,
    /// How many there are.
    pub rows: i64,
    /// Whether the type outlives its event, so that they stay.
    pub kept: bool,
}

/// One transaction of an event that is ended in several.
enum Step {
    /// Rows were found; so many of them went.
    Deleted(u64),
    /// Nothing is left.
    Ended(Ended),
}

/// Rows a step, at most.
const ROWS_A_STEP: u32 = 5_000;
/// Steps in a row that find rows and delete none.
const STEPS_IN_VAIN: u32 = 10;

struct Columns {
    event_ids: Vec<Uuid>,
    team_ids: Vec<Option<Uuid>>,
    occurred_at: Vec<OffsetDateTime>,
}

impl Columns {
    fn of(ends: &[EventEnd]) -> Self {
        Self {
            event_ids: ends.iter().map(|end| end.event_id).collect(),
            team_ids: ends.iter().map(|end| end.team_id).collect(),
            occurred_at: ends.iter().map(|end| end.occurred_at).collect(),
        }
    }
}

impl Database {
    /// Ends all the events in one transaction with one statement. All or nothing.
    ///
    /// Rows without `created_at` stay: nothing shows that they are older than the status. The TTL takes them.
    pub async fn end_events(&self, ends: &[EventEnd], limits: Limits) -> Result<Vec<Ended>, StorageError> {
        self.within(limits, "delete the events' snapshots", async {
            let mut tx = self.begin(limits, Some(Rule::EventEnd)).await?;
            let policy = retention_policy::load(&mut tx).await?;
            let columns = Columns::of(ends);
            let deleted = delete(&mut tx, &columns, &policy).await?;
            let mismatched = mismatched(&mut tx, ends, &deleted).await?;
            Self::commit(tx).await?;
            Ok(outcome(ends, &deleted, &mismatched))
        })
        .await
    }

    /// Ends one event in as many transactions as it takes, each of at most some thousand rows, and of fewer where that is
    /// too much for the database's speed.
    ///
    /// An error half-way leaves what is committed deleted; the same call again deletes the rest.
    pub async fn end_event_in_steps(&self, end: &EventEnd) -> Result<Ended, StorageError> {
        let (mut rows, mut total, mut in_vain) = (ROWS_A_STEP, 0, 0);
        loop {
            match self.end_event_step(end, rows, total).await {
                Ok(Step::Ended(ended)) => return Ok(ended),
                Ok(Step::Deleted(0)) => {
                    // Once or twice they were being updated by another; more often it is no chance.
                    in_vain += 1;
                    if in_vain == STEPS_IN_VAIN {
                        return Err(StorageError::kept("delete some of the event's snapshots"));
                    }
                }
                Ok(Step::Deleted(deleted)) => {
                    total += deleted;
                    in_vain = 0;
                }
                Err(error) if error.is_statement_timeout() && rows > 1 => rows = (rows / 8).max(1),
                Err(error) => return Err(error),
            }
        }
    }

    async fn end_event_step(&self, end: &EventEnd, rows: u32, before: u64) -> Result<Step, StorageError> {
        self.within(Limits::SHORT, "delete some of the event's snapshots", async {
            let mut tx = self.begin(Limits::SHORT, Some(Rule::EventEnd)).await?;
            let policy = retention_policy::load(&mut tx).await?;
            let (found, deleted) = delete_some(&mut tx, end, &policy, rows).await?;
            // Only an empty look ends it.
            let step = if found > 0 {
                Step::Deleted(deleted)
            } else {
                let counts = HashMap::from([(0, before)]);
                let ends = std::slice::from_ref(end);
                let mismatched = mismatched(&mut tx, ends, &counts).await?;
                Step::Ended(outcome(ends, &counts, &mismatched)[0])
            };
            Self::commit(tx).await?;
            Ok(step)
        })
        .await
    }

    /// A delete that deletes nothing, under the locks and the privileges of one that does, and a commit that is written: succeeds
    /// where only particular rows make trouble, fails where every delete would.
    ///
    /// A commit that has written nothing waits for no standby, and needs no transaction id; so it passes where that of a real delete
    /// waits for ever, or is refused.
    pub async fn try_delete_nothing(&self, limits: Limits) -> Result<(), StorageError> {
        self.within(limits, "delete nothing from snapshots", async {
            let mut tx = self.begin(limits, Some(Rule::EventEnd)).await?;
            retention_policy::load(&mut tx).await?;
            sqlx::query("DELETE FROM ONLY public.snapshots WHERE id = '00000000-0000-0000-0000-000000000000' AND event_id IS NULL AND event_id IS NOT NULL")
                .persistent(false)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during("delete nothing from snapshots"))?;
            // IS NULL: sqlx would ask for the type of the answer in between, and so lose the unnamed statement.
            sqlx::query("SELECT pg_logical_emit_message(true, 'snapshot_lifecycle', 'can it commit') IS NULL")
                .persistent(false)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during("write to the log"))?;
            Self::commit(tx).await
        })
        .await
    }

    /// What [`end_events`](Self::end_events) would do to one event, by type.
    pub async fn count_event(&self, end: &EventEnd) -> Result<Vec<TypeCount>, StorageError> {
        self.within(Limits::LONG, "count the event's snapshots", async {
            let mut tx = self.begin(Limits::LONG, None).await?;
            let policy = retention_policy::load(&mut tx).await?;
            let rows: Vec<(String, i64)> = sqlx::query_as(
                "SELECT snapshot_type, count(*) FROM ONLY public.snapshots \
             WHERE event_id = $1 AND ($2::uuid IS NULL OR team_id = $2) AND created_at <= $3 \
             GROUP BY snapshot_type ORDER BY snapshot_type",
            )
            .persistent(false)
            .bind(end.event_id)
            .bind(end.team_id)
            .bind(end.occurred_at)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during("count the event's snapshots"))?;
            Self::commit(tx).await?;
            let with_fate = |(snapshot_type, rows): (String, i64)| TypeCount {
                kept: policy.keeps(&snapshot_type),
                snapshot_type,
                rows,
            };
            Ok(rows.into_iter().map(with_fate).collect())
        })
        .await
    }
}

/// Deleted rows by position in `columns`; positions without a row are absent.
async fn delete(
    tx: &mut Transaction<'static, Postgres>,
    columns: &Columns,
    policy: &RetentionPolicy,
) -> Result<HashMap<usize, u64>, StorageError> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "WITH gone AS ( \
             DELETE FROM ONLY public.snapshots AS s \
             USING unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS e (event_id, team_id, occurred_at, position) \
             WHERE s.event_id = e.event_id AND (e.team_id IS NULL OR s.team_id = e.team_id) AND s.created_at <= e.occurred_at \
               AND (s.snapshot_type::text = ANY ($4)) = $5 \
             RETURNING e.position \
         ) SELECT position, count(*) FROM gone GROUP BY position",
    )
    .persistent(false)
    .bind(&columns.event_ids)
    .bind(&columns.team_ids)
    .bind(&columns.occurred_at)
    .bind(policy.exceptions())
    .bind(policy.keeps_by_default())
    .fetch_all(&mut **tx)
    .await
    .map_err(StorageError::during("delete the events' snapshots"))?;
    Ok(rows
        .into_iter()
        .map(|(position, count)| (usize::try_from(position - 1).unwrap_or_default(), count.unsigned_abs()))
        .collect())
}

/// Found and deleted rows of one event, at most `limit`. The row is found by its place in the table, which is exact
/// within one table and one statement, and every condition is asked again of the row that is deleted.
async fn delete_some(
    tx: &mut Transaction<'static, Postgres>,
    end: &EventEnd,
    policy: &RetentionPolicy,
    limit: u32,
) -> Result<(u64, u64), StorageError> {
    let (found, deleted): (i64, i64) = sqlx::query_as(
        "WITH doomed AS MATERIALIZED ( \
             SELECT ctid FROM ONLY public.snapshots \
             WHERE event_id = $1 AND ($2::uuid IS NULL OR team_id = $2) AND created_at <= $3 AND (snapshot_type::text = ANY ($4)) = $5 \
             LIMIT $6 \
         ), gone AS ( \
             DELETE FROM ONLY public.snapshots AS s USING doomed AS d \
             WHERE s.ctid = d.ctid \
               AND s.event_id = $1 AND ($2::uuid IS NULL OR s.team_id = $2) AND s.created_at <= $3 AND (s.snapshot_type::text = ANY ($4)) = $5 \
             RETURNING 1 \
         ) SELECT (SELECT count(*) FROM doomed), (SELECT count(*) FROM gone)",
    )
    .persistent(false)
    .bind(end.event_id)
    .bind(end.team_id)
    .bind(end.occurred_at)
    .bind(policy.exceptions())
    .bind(policy.keeps_by_default())
    .bind(i64::from(limit))
    .fetch_one(&mut **tx)
    .await
    .map_err(StorageError::during("delete some of the event's snapshots"))?;
    Ok((found.unsigned_abs(), deleted.unsigned_abs()))
}

/// Positions of the ends that named a team, deleted nothing, and whose event has snapshots of other teams only.
async fn mismatched(
    tx: &mut Transaction<'static, Postgres>,
    ends: &[EventEnd],
    deleted: &HashMap<usize, u64>,
) -> Result<Vec<usize>, StorageError> {
    // By event: where two ends of a batch name the same event, its rows are counted at one of them only.
    let deleted_of: HashSet<Uuid> =
        deleted.iter().filter(|(_, rows)| **rows > 0).map(|(position, _)| ends[*position].event_id).collect();
    let suspects: Vec<(usize, Uuid, Uuid)> = ends
        .iter()
        .enumerate()
        .filter_map(|(position, end)| Some((position, end.event_id, end.team_id?)))
        .filter(|(_, event_id, _)| !deleted_of.contains(event_id))
        .collect();
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let positions: Vec<i64> = sqlx::query_scalar(
        "SELECT e.position FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS e (event_id, team_id, position) \
         WHERE EXISTS (SELECT FROM ONLY public.snapshots AS s WHERE s.event_id = e.event_id AND s.team_id <> e.team_id) \
           AND NOT EXISTS (SELECT FROM ONLY public.snapshots AS s WHERE s.event_id = e.event_id AND s.team_id = e.team_id)",
    )
    .persistent(false)
    .bind(suspects.iter().map(|(_, event_id, _)| *event_id).collect::<Vec<_>>())
    .bind(suspects.iter().map(|(.., team_id)| *team_id).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await
    .map_err(StorageError::during("compare the events' teams"))?;
    Ok(positions
        .into_iter()
        .filter_map(|position| suspects.get(usize::try_from(position - 1).ok()?))
        .map(|(position, ..)| *position)
        .collect())
}

fn outcome(ends: &[EventEnd], deleted: &HashMap<usize, u64>, mismatched: &[usize]) -> Vec<Ended> {
    let mut outcome: Vec<_> =
        (0..ends.len()).map(|position| Ended::Deleted(deleted.get(&position).copied().unwrap_or_default())).collect();
    for position in mismatched {
        outcome[*position] = Ended::TeamMismatch;
    }
    outcome
}
