//! The first rule: the end of an event.
//!
//! Many ends are done with one plain delete under a short timeout. What it cannot do is done in steps ([`super::event_steps`]).

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::applied_ahead;
use crate::policy::{EventEnd, KeptTypes, Rule};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::retention::delete_terms::DeleteTerms;
use crate::storage::statement::{Statement, query_as, sql};
use crate::storage::transaction::Tx;

/// What became of an event end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventEndOutcome {
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
    /// How many exist.
    pub rows: i64,
    /// Whether the type outlives its event, so that they stay.
    pub kept: bool,
}

impl Database {
    /// Ends all the events in one transaction with one statement. All or nothing.
    ///
    /// Rows without `created_at` stay: nothing shows that they are older than the status. The TTL takes them.
    ///
    /// # Errors
    /// If the database does not answer, refuses the delete, or would not let it reach every row.
    pub async fn event_end_delete(
        &self,
        ends: &[EventEnd],
        limits: Limits,
    ) -> Result<Vec<EventEndOutcome>, StorageError> {
        let mut tx = self.begin_delete(limits, Rule::EventEnd, "delete the events' snapshots").await?;
        let event_ids: Vec<_> = ends.iter().map(|end| end.event_id).collect();
        let terms = DeleteTerms::load_to_end_events(&mut tx, &event_ids).await?;
        applied_ahead::note(&mut tx, ends, &terms).await?;
        let ends = applied_ahead::as_first_applied(&mut tx, ends, &terms).await?;
        let deleted = delete(&mut tx, &ends, &terms).await?;
        let kept = if terms.may_keep { kept(&mut tx, &ends, &terms).await? } else { HashMap::new() };
        let mut owners = owners_of_mismatched(&mut tx, &ends, &deleted, &terms).await?;
        let count = |rows: &HashMap<usize, u64>, position| rows.get(&position).copied().unwrap_or_default();
        let outcome = |position| match owners.remove(&position) {
            Some(owners) => EventEndOutcome::TeamMismatch(owners),
            None => EventEndOutcome::Deleted { rows: count(&deleted, position), kept: count(&kept, position) },
        };
        let outcomes = (0..ends.len()).map(outcome).collect();
        tx.commit(outcomes).await
    }

    /// What [`event_end_delete`](Self::event_end_delete) would do to one event, by type.
    ///
    /// # Errors
    /// If the database does not answer, refuses, or would not let a delete reach every row.
    pub async fn event_end_count(&self, end: &EventEnd) -> Result<EventCount, StorageError> {
        #[derive(sqlx::FromRow)]
        struct Answer {
            snapshot_type: String,
            rows: i64,
        }
        let mut tx = self.begin(Limits::LONG, "count the event's snapshots").await?;
        let terms = DeleteTerms::load(&mut tx, &[end.event_id]).await?;
        let ends = applied_ahead::as_first_applied(&mut tx, std::slice::from_ref(end), &terms).await?;
        let keeps_none = KeptTypes::new(false, []);
        let statement = query_as(sql!("event_end_count.sql", "event_ends.sql", "event_end_rule.sql"));
        let answers: Vec<Answer> = tx.fetch_all(bound(statement, &ends, &keeps_none)).await?;
        let any = HashMap::from([(0, answers.len() as u64)]);
        let owners = owners_of_mismatched(&mut tx, &ends, &any, &terms).await?.remove(&0);
        let count = |Answer { snapshot_type, rows }| TypeCount {
            kept: terms.policy.keeps(&snapshot_type),
            snapshot_type,
            rows,
        };
        let types = answers.into_iter().map(count).collect();
        tx.commit(EventCount { types, owners }).await
    }
}

/// A count of the end at a position from 1 on.
#[derive(sqlx::FromRow)]
struct CountAt {
    position: i64,
    rows: i64,
}

/// Deleted rows by position in `ends`; positions without a row are absent.
async fn delete(tx: &mut Tx, ends: &[EventEnd], terms: &DeleteTerms) -> Result<HashMap<usize, u64>, StorageError> {
    let statement = query_as(sql!("event_end_delete.sql", "event_ends.sql", "event_end_rule.sql"));
    let counts: Vec<CountAt> = tx.fetch_all(bound(statement, ends, &terms.policy)).await?;
    let (bound_now, counts): (Vec<_>, Vec<_>) = counts.into_iter().partition(|count| count.position == 0);
    terms.check_still_seen(bound_now.iter().any(|bound| bound.rows == 1))?;
    Ok(indexed(counts))
}

/// Rows that a trigger or rule of the backend has kept, by position in `ends`.
async fn kept(tx: &mut Tx, ends: &[EventEnd], terms: &DeleteTerms) -> Result<HashMap<usize, u64>, StorageError> {
    let statement = query_as(sql!("event_end_kept.sql", "event_ends.sql", "event_end_rule.sql"));
    Ok(indexed(tx.fetch_all(bound(statement, ends, &terms.policy)).await?))
}

/// The teams that own the snapshots, by the position of an end that names a team, deleted nothing, and whose event has snapshots that it would have
/// deleted had it named their team, and none of the named team.
///
/// Where an event has snapshots of several teams, a duplicate of the message that ended one team's part looks the same, because nothing
/// is left that shows the first; it is harmless, and is told as a mismatch.
pub(super) async fn owners_of_mismatched(
    tx: &mut Tx,
    ends: &[EventEnd],
    deleted: &HashMap<usize, u64>,
    terms: &DeleteTerms,
) -> Result<HashMap<usize, Vec<Uuid>>, StorageError> {
    #[derive(sqlx::FromRow)]
    struct OwnersAt {
        position: i64,
        owners: Vec<Uuid>,
    }
    // By event: where two ends of a batch name the same event, its rows are counted at one of them only.
    let deleted_of: HashSet<Uuid> =
        deleted.iter().filter(|(_, rows)| **rows > 0).map(|(position, _)| ends[*position].event_id).collect();
    let is_suspect = |end: &EventEnd| end.team_id.is_some() && !deleted_of.contains(&end.event_id);
    let positions: Vec<usize> = (0..ends.len()).filter(|position| is_suspect(&ends[*position])).collect();
    if positions.is_empty() {
        return Ok(HashMap::new());
    }
    let suspects: Vec<EventEnd> = positions.iter().map(|position| ends[*position]).collect();
    let statement = query_as(sql!("event_end_owners.sql", "event_ends.sql", "event_end_rule.sql"));
    let found: Vec<OwnersAt> = tx.fetch_all(bound(statement, &suspects, &terms.policy)).await?;
    let placed = |found: OwnersAt| Some((*positions.get(index(found.position))?, found.owners));
    Ok(found.into_iter().filter_map(placed).collect())
}

/// With the binds of `event_ends.sql` and `event_end_rule.sql`.
pub(super) fn bound<O>(statement: Statement<O>, ends: &[EventEnd], policy: &KeptTypes) -> Statement<O> {
    statement
        .bind(ends.iter().map(|end| end.event_id).collect::<Vec<_>>())
        .bind(ends.iter().map(|end| end.team_id).collect::<Vec<_>>())
        .bind(ends.iter().map(|end| end.occurred_at).collect::<Vec<_>>())
        .bind(policy.exceptions())
        .bind(policy.keeps_by_default())
}

/// Counts by position from 0 on.
fn indexed(counts: Vec<CountAt>) -> HashMap<usize, u64> {
    counts.into_iter().map(|count| (index(count.position), count.rows.unsigned_abs())).collect()
}

fn index(position: i64) -> usize {
    usize::try_from(position - 1).unwrap_or_default()
}
