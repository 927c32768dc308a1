//! The second rule: expiry, by the database's clock.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::delete_batch::{DeleteBatch, DeleteBatchCounts, NextRow};
use super::timestamp::Timestamp;
use crate::policy::Rule;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::{Interval, whole_seconds};
use crate::storage::limits::Limits;
use crate::storage::passes::lease::HeldLease;
use crate::storage::passes::{delete_budget, lease};
use crate::storage::statement::{Statement, query_as, query_scalar, sql};

/// A place in the order of a sweep: an instant, without the rows of that instant that could not be deleted.
///
/// So rows of one instant need no order among each other, which an index has only by chance and a sort would have to make again for each
/// batch: the rows that were deleted are gone, and those that stayed are few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TtlPlace {
    expires_at: Timestamp,
    stayed: Vec<Uuid>,
    /// Too many of that instant stayed: the rest of it is left to another pass.
    behind: bool,
}

/// Of one instant.
const MOST_STAYED: usize = 50_000;

impl TtlPlace {
    fn new(after: Option<&Self>, expires_at: Timestamp, stayed: Vec<Uuid>) -> Self {
        let mut place = match after {
            Some(after) if after.expires_at == expires_at => after.clone(),
            _ => Self { expires_at, stayed: Vec::new(), behind: false },
        };
        place.stayed.extend(stayed);
        if place.stayed.len() > MOST_STAYED {
            place = Self { expires_at, stayed: Vec::new(), behind: true };
        }
        place
    }
}

/// What is expired now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Expired {
    /// Rows.
    pub rows: i64,
    /// Since the oldest of them expired; in JSON whole seconds.
    #[serde(rename = "oldest_seconds", serialize_with = "whole_seconds")]
    #[sqlx(try_from = "Interval")]
    pub oldest: Duration,
}

impl Database {
    /// The instant up to which one sweep deletes: now by the database's clock, fixed for the pass so that it ends.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn ttl_cutoff(&self) -> Result<OffsetDateTime, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read the database's clock").await?;
        let now = tx.fetch_one(query_scalar("SELECT now()")).await?;
        tx.commit(now).await
    }

    /// Deletes at most `rows` snapshots with `expires_at <= cutoff` in one transaction, oldest expiry first, from the beginning or behind
    /// a place.
    ///
    /// Rows locked by others are passed over; the next sweep finds them again. The place keeps the scan from walking the
    /// dead index entries of earlier batches. Returns `None` where the lease is another's, and deletes nothing then.
    ///
    /// # Errors
    /// If the database does not answer, refuses the delete, or would not let it reach every row.
    pub async fn ttl_delete_batch(
        &self,
        lease: HeldLease<'_>,
        after: Option<&TtlPlace>,
        cutoff: OffsetDateTime,
        rows: u32,
        rate: Option<u32>,
    ) -> Result<Option<DeleteBatch<TtlPlace>>, StorageError> {
        #[derive(sqlx::FromRow)]
        struct Answer {
            #[sqlx(flatten)]
            counts: DeleteBatchCounts,
            last: Option<Timestamp>,
            kept_at_last: Vec<Uuid>,
        }
        let mut tx = self.begin_delete(Limits::SHORT, Rule::Ttl, "delete expired snapshots").await?;
        if !lease::renew_to_delete(&mut tx, lease).await? {
            return Ok(None);
        }
        let statement = query_as(sql!("ttl_delete_batch.sql", "ttl_doomed.sql", "kept_rows.sql"));
        let Answer { counts, last, kept_at_last } = tx.fetch_one(bound(statement, after, cutoff, rows)).await?;
        let batch = counts.batch(last.map(|expires_at| TtlPlace::new(after, expires_at, kept_at_last)));
        delete_budget::charge(&mut tx, batch.deleted, rate).await?;
        tx.commit(Some(batch)).await
    }

    /// The row that [`ttl_delete_batch`](Self::ttl_delete_batch) of one row would delete.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn ttl_next(
        &self,
        after: Option<&TtlPlace>,
        cutoff: OffsetDateTime,
    ) -> Result<Option<NextRow<TtlPlace>>, StorageError> {
        #[derive(sqlx::FromRow)]
        struct Answer {
            id: Uuid,
            expires_at: Timestamp,
        }
        let mut tx = self.begin(Limits::SHORT, "find the next expired snapshot").await?;
        let statement = query_as(sql!("ttl_next.sql", "ttl_doomed.sql"));
        let answer: Option<Answer> = tx.fetch_optional(bound(statement, after, cutoff, 1)).await?;
        let next =
            answer.map(|Answer { id, expires_at }| NextRow { id, place: TtlPlace::new(after, expires_at, vec![id]) });
        tx.commit(next).await
    }

    /// Counts what a sweep would delete now.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn ttl_count(&self) -> Result<Expired, StorageError> {
        let mut tx = self.begin(Limits::LONG, "count expired snapshots").await?;
        let expired = tx.fetch_one(query_as(sql!("ttl_count.sql"))).await?;
        tx.commit(expired).await
    }
}

/// With the binds of `ttl_doomed.sql`.
fn bound<O>(statement: Statement<O>, after: Option<&TtlPlace>, cutoff: OffsetDateTime, rows: u32) -> Statement<O> {
    statement
        .bind(cutoff)
        .bind(after.map(|place| place.expires_at))
        .bind(after.map_or(&[][..], |place| &place.stayed))
        .bind(after.is_some_and(|place| place.behind))
        .bind(i64::from(rows))
}
