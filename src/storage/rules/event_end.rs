//! Statements of the first rule: the end of an event.
//!
//! A plain `DELETE … USING unnest(…)` is faster than one with a row limit, because the limit needs the rows to be found first
//! and deleted second. So the plain one is tried first, under a short timeout; what it cannot do is done in steps
//! ([`super::event_steps`]).

use std::collections::{HashMap, HashSet};

use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::applied_ahead;
use crate::policy::{EventEnd, Rule};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::retention::policy::{self, Terms};
use crate::storage::transaction::Limits;

/// What became of an event end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Deleted what could be deleted, perhaps nothing.
    Deleted {
        /// Rows that are gone.
        rows: u64,
        /// Rows that a trigger or rule of the backend kept, without an error.
        kept: u64,
    },
    /// Nothing was deleted: the message names a team that has no snapshots of the event, and these teams have some.
    TeamMismatch(Vec<Uuid>),
}

/// What the end of an event would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// Its snapshots by type.
    pub types: Vec<TypeCount>,
    /// Where the named team has none: the teams that have some.
    pub owners: Option<Vec<Uuid>>,
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

/// As SQL: row `s` is one that the event end `e` names. `$4` and `$5` are the retention policy. `now()` is the transaction's start:
/// a status whose time has not come yet takes nothing that is made after it was applied.
macro_rules! named {
    () => {
        "s.event_id = e.event_id AND (e.team_id IS NULL OR s.team_id = e.team_id) \
         AND s.created_at <= LEAST(e.occurred_at, pg_catalog.now()) AND (s.snapshot_type::text = ANY ($4)) = $5"
    };
}
/// As SQL: the event ends as rows of `e`, with their position from 1 on. `unnest` of several arrays is grammar, so it is not qualified.
macro_rules! ends {
    () => {
        "unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS e (event_id, team_id, occurred_at, position)"
    };
}

/// The event ends of one call, as the columns of [`ends!`].
struct Columns {
    event_ids: Vec<Uuid>,
    team_ids: Vec<Option<Uuid>>,
    occurred_at: Vec<OffsetDateTime>,
}

impl Columns {
    fn of<'a>(ends: impl Iterator<Item = &'a EventEnd> + Clone) -> Self {
        Self {
            event_ids: ends.clone().map(|end| end.event_id).collect(),
            team_ids: ends.clone().map(|end| end.team_id).collect(),
            occurred_at: ends.map(|end| end.occurred_at).collect(),
        }
    }
}

impl Database {
    /// Ends all the events in one transaction with one statement. All or nothing.
    ///
    /// Rows without `created_at` stay: nothing shows that they are older than the status. The TTL takes them.
    pub async fn end_events(&self, ends: &[EventEnd], limits: Limits) -> Result<Vec<Ended>, StorageError> {
        self.within(limits, "delete the events' snapshots", async {
            let mut tx = self.begin_within(limits, Some(Rule::EventEnd)).await?;
            let event_ids: Vec<_> = ends.iter().map(|end| end.event_id).collect();
            let terms = policy::load_checked(&mut tx, &event_ids).await?;
            applied_ahead::note(&mut tx, ends, &terms).await?;
            let ends = applied_ahead::as_first_applied(&mut tx, ends, &terms).await?;
            let columns = Columns::of(ends.iter());
            let deleted = delete(&mut tx, &columns, &terms).await?;
            let kept = if terms.may_keep { still_there(&mut tx, &columns, &terms).await? } else { HashMap::new() };
            let mut owners = owners_of_mismatched(&mut tx, &ends, &deleted, &terms).await?;
            Self::commit(tx).await?;
            let count = |rows: &HashMap<usize, u64>, position| rows.get(&position).copied().unwrap_or_default();
            let ended = |position| match owners.remove(&position) {
                Some(owners) => Ended::TeamMismatch(owners),
                None => Ended::Deleted { rows: count(&deleted, position), kept: count(&kept, position) },
            };
            Ok((0..ends.len()).map(ended).collect())
        })
        .await
    }

    /// A delete that deletes nothing, under the locks and the privileges of one that does, and a commit that is written: succeeds
    /// where only particular rows make trouble, fails where every delete would.
    ///
    /// A commit that has written nothing waits for no standby, and needs no transaction id; so it passes where that of a real delete
    /// waits for ever, or is refused.
    pub async fn try_delete_nothing(&self, limits: Limits) -> Result<(), StorageError> {
        self.within(limits, "test whether a delete passes", async {
            let mut tx = self.begin_within(limits, Some(Rule::EventEnd)).await?;
            policy::load_checked(&mut tx, &[]).await?;
            // It compares every column that the real one does: a column that was renamed, or has another type, fails each event.
            sqlx::query("DELETE FROM ONLY public.snapshots WHERE id = $1 AND event_id = $1 AND team_id = $1 AND created_at <= pg_catalog.now() AND event_id IS NULL")
                .bind(Uuid::nil())
                .persistent(false)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during("test whether a delete passes"))?;
            // With the table that a delete may write to beside the snapshots.
            // IS NULL: sqlx would ask for the type of the answer in between, and so lose the unnamed statement.
            sqlx::query(
                "WITH noted AS (INSERT INTO snapshot_lifecycle.applied_ahead SELECT a.* FROM snapshot_lifecycle.applied_ahead AS a WHERE false) \
                 SELECT pg_catalog.pg_logical_emit_message(true, 'snapshot_lifecycle', 'can it commit') IS NULL",
            )
                .persistent(false)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during("write to the log"))?;
            Self::commit(tx).await
        })
        .await
    }

    /// What [`end_events`](Self::end_events) would do to one event, by type.
    pub async fn count_event(&self, end: &EventEnd) -> Result<EventCount, StorageError> {
        self.within(Limits::LONG, "count the event's snapshots", async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
            let terms = policy::load_checked(&mut tx, &[end.event_id]).await?;
            let ends = applied_ahead::as_first_applied(&mut tx, std::slice::from_ref(end), &terms).await?;
            let end = &ends[0];
            let rows: Vec<(String, i64)> = sqlx::query_as(
                "SELECT snapshot_type::text, pg_catalog.count(*) FROM ONLY public.snapshots \
                 WHERE event_id = $1 AND ($2::uuid IS NULL OR team_id = $2) AND created_at <= LEAST($3, pg_catalog.now()) \
                 GROUP BY 1 ORDER BY 1",
            )
            .persistent(false)
            .bind(end.event_id)
            .bind(end.team_id)
            .bind(end.occurred_at)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during("count the event's snapshots"))?;
            let any = HashMap::from([(0, rows.len() as u64)]);
            let owners = owners_of_mismatched(&mut tx, &ends, &any, &terms).await?.remove(&0);
            Self::commit(tx).await?;
            let count = |(snapshot_type, rows): (String, i64)| TypeCount {
                kept: terms.policy.keeps(&snapshot_type),
                snapshot_type,
                rows,
            };
            Ok(EventCount { types: rows.into_iter().map(count).collect(), owners })
        })
        .await
    }
}

/// Deleted rows by position in `columns`; positions without a row are absent.
async fn delete(
    tx: &mut Transaction<'static, Postgres>,
    columns: &Columns,
    terms: &Terms,
) -> Result<HashMap<usize, u64>, StorageError> {
    // Position 0 says whether row-level security binds the role now.
    const SQL: &str = concat!(
        "WITH gone AS (DELETE FROM ONLY public.snapshots AS s USING ",
        ends!(),
        " WHERE ",
        named!(),
        " RETURNING e.position) \
         SELECT position, pg_catalog.count(*) FROM gone GROUP BY position \
         UNION ALL SELECT 0, pg_catalog.row_security_active('public.snapshots')::int"
    );
    let rows = by_position(tx, SQL, "delete the events' snapshots", columns, terms).await?;
    let (bound, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(position, _)| *position == 0);
    terms.check_still_seen(bound.iter().any(|(_, bound)| *bound == 1))?;
    Ok(indexed(rows))
}

/// Rows that are still there after the delete, by position: something of the backend's keeps them.
async fn still_there(
    tx: &mut Transaction<'static, Postgres>,
    columns: &Columns,
    terms: &Terms,
) -> Result<HashMap<usize, u64>, StorageError> {
    const SQL: &str = concat!(
        "SELECT e.position, pg_catalog.count(*) FROM ",
        ends!(),
        " JOIN ONLY public.snapshots AS s ON ",
        named!(),
        " GROUP BY e.position"
    );
    Ok(indexed(by_position(tx, SQL, "count what the backend keeps", columns, terms).await?))
}

async fn by_position(
    tx: &mut Transaction<'static, Postgres>,
    sql: &'static str,
    operation: &'static str,
    columns: &Columns,
    terms: &Terms,
) -> Result<Vec<(i64, i64)>, StorageError> {
    sqlx::query_as(sql)
        .persistent(false)
        .bind(&columns.event_ids)
        .bind(&columns.team_ids)
        .bind(&columns.occurred_at)
        .bind(terms.policy.exceptions())
        .bind(terms.policy.keeps_by_default())
        .fetch_all(&mut **tx)
        .await
        .map_err(StorageError::during(operation))
}

/// Counts by position from 0 on.
fn indexed(rows: Vec<(i64, i64)>) -> HashMap<usize, u64> {
    rows.into_iter().map(|(position, count)| (index(position), count.unsigned_abs())).collect()
}

fn index(position: i64) -> usize {
    usize::try_from(position - 1).unwrap_or_default()
}

/// The teams that own the snapshots, by the position of an end that names a team, deleted nothing, and whose event has snapshots that it would have
/// deleted had it named their team, and none of the named team.
///
/// Where an event has snapshots of several teams, a duplicate of the message that ended one team's part looks the same, because nothing
/// is left that shows the first; it is harmless, and is told as a mismatch.
pub(in crate::storage) async fn owners_of_mismatched(
    tx: &mut Transaction<'static, Postgres>,
    ends: &[EventEnd],
    deleted: &HashMap<usize, u64>,
    terms: &Terms,
) -> Result<HashMap<usize, Vec<Uuid>>, StorageError> {
    const SQL: &str = concat!(
        "SELECT e.position, pg_catalog.array_agg(DISTINCT s.team_id) FROM ",
        ends!(),
        " JOIN ONLY public.snapshots AS s ON s.event_id = e.event_id AND s.team_id IS NOT NULL \
             AND s.created_at <= LEAST(e.occurred_at, pg_catalog.now()) AND (s.snapshot_type::text = ANY ($4)) = $5 \
         WHERE NOT EXISTS (SELECT FROM ONLY public.snapshots AS o WHERE o.event_id = e.event_id AND o.team_id = e.team_id) \
         GROUP BY e.position"
    );
    // By event: where two ends of a batch name the same event, its rows are counted at one of them only.
    let deleted_of: HashSet<Uuid> =
        deleted.iter().filter(|(_, rows)| **rows > 0).map(|(position, _)| ends[*position].event_id).collect();
    let is_suspect = |end: &EventEnd| end.team_id.is_some() && !deleted_of.contains(&end.event_id);
    let suspects: Vec<usize> = (0..ends.len()).filter(|position| is_suspect(&ends[*position])).collect();
    if suspects.is_empty() {
        return Ok(HashMap::new());
    }
    let columns = Columns::of(suspects.iter().map(|position| &ends[*position]));
    let rows: Vec<(i64, Vec<Uuid>)> = sqlx::query_as(SQL)
        .persistent(false)
        .bind(&columns.event_ids)
        .bind(&columns.team_ids)
        .bind(&columns.occurred_at)
        .bind(terms.policy.exceptions())
        .bind(terms.policy.keeps_by_default())
        .fetch_all(&mut **tx)
        .await
        .map_err(StorageError::during("compare the events' teams"))?;
    Ok(rows.into_iter().filter_map(|(position, owners)| Some((*suspects.get(index(position))?, owners))).collect())
}
