//! Messages that were applied before their `occurred_at`: a publisher's clock may be ahead of the database's.
//!
//! Such a message takes what was made until it was applied, and so must its duplicates, whether they come before `occurred_at` or after.
//! When it was first applied is remembered in the transaction that applies it, and a duplicate counts as of then. A message with an
//! earlier `occurred_at` for the same event and team counts as of then too, because the two may have been merged.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::policy::EventEnd;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::retention::delete_terms::DeleteTerms;
use crate::storage::schema::access;
use crate::storage::statement::{query, query_as, sql};
use crate::storage::transaction::Tx;

/// Entries deleted per transaction.
const ENTRIES_PER_BATCH: u32 = 5_000;

/// When an end was first applied, before its time.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct AppliedAhead {
    event_id: Uuid,
    team_id: Option<Uuid>,
    occurred_at: OffsetDateTime,
    applied_at: OffsetDateTime,
}

impl AppliedAhead {
    /// Whether the end was applied with this one. PostgreSQL has cut its time to whole microseconds.
    fn covers(&self, end: &EventEnd) -> bool {
        self.occurred_at > end.occurred_at - Duration::MICROSECOND
    }
}

/// Remembers the ends whose time has not come yet, unless they are remembered already. Asks nothing of the database where there are none.
pub(super) async fn note(tx: &mut Tx, ends: &[EventEnd], terms: &DeleteTerms) -> Result<(), StorageError> {
    let ahead = || ends.iter().filter(|end| is_ahead(end, terms));
    if ahead().next().is_none() {
        return Ok(());
    }
    let statement = query(sql!("applied_ahead_note.sql"))
        .bind(ahead().map(|end| end.event_id).collect::<Vec<_>>())
        .bind(ahead().map(|end| end.team_id).collect::<Vec<_>>())
        .bind(ahead().map(|end| end.occurred_at).collect::<Vec<_>>());
    tx.execute(statement).await?;
    Ok(())
}

/// The ends, each no later than it was first applied. Asks nothing of the database where none was, and none is now.
pub(super) async fn as_first_applied(
    tx: &mut Tx,
    ends: &[EventEnd],
    terms: &DeleteTerms,
) -> Result<Vec<EventEnd>, StorageError> {
    let mut ends = ends.to_vec();
    // One that is ahead may have been remembered by another transaction since the terms were read.
    if !terms.applied_ahead && !ends.iter().any(|end| is_ahead(end, terms)) {
        return Ok(ends);
    }
    let event_ids: Vec<_> = ends.iter().map(|end| end.event_id).collect();
    let found: Vec<AppliedAhead> = tx.fetch_all(query_as(sql!("applied_ahead_find.sql")).bind(event_ids)).await?;
    let mut of_key: HashMap<_, Vec<AppliedAhead>> = HashMap::new();
    for entry in found {
        of_key.entry((entry.event_id, entry.team_id)).or_default().push(entry);
    }
    for end in &mut ends {
        let entries = of_key.get(&(end.event_id, end.team_id)).into_iter().flatten();
        if let Some(first) = entries.filter(|entry| entry.covers(end)).map(|entry| entry.applied_at).min() {
            end.occurred_at = end.occurred_at.min(first);
        }
    }
    Ok(ends)
}

fn is_ahead(end: &EventEnd, terms: &DeleteTerms) -> bool {
    end.occurred_at > terms.now
}

impl Database {
    /// Deletes entries on which no snapshot depends any more; `false` where more may be left.
    ///
    /// # Errors
    /// If the database does not answer, refuses, or hides rows from the role: a snapshot that is hidden would be taken for none.
    pub async fn applied_ahead_forget(&self) -> Result<bool, StorageError> {
        let mut tx = self.begin(Limits::PAGE, "forget what was applied ahead of its time").await?;
        access::require(&mut tx).await?;
        let statement = query(sql!("applied_ahead_forget.sql")).bind(i64::from(ENTRIES_PER_BATCH));
        let forgotten = tx.execute(statement).await?;
        tx.commit(forgotten < u64::from(ENTRIES_PER_BATCH)).await
    }
}
