use std::time::Duration;

use uuid::Uuid;

use super::ttl_interval::as_interval;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, query_scalar, sql};

/// What a restamp does to the rows of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Restamp {
    /// Rows that would expire earlier than they do now.
    pub earlier: i64,
    /// Rows that would expire later.
    pub later: i64,
    /// Rows that have no `expires_at`, so would never expire, and would be given one.
    pub without_expires_at: i64,
    /// Of all these, those that would be expired at once, so that the next sweep takes them.
    pub expired_at_once: i64,
    /// Rows without `created_at`, which stay as they are.
    pub without_created_at: i64,
}

impl Restamp {
    /// The rows that would be changed.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        (self.earlier + self.later + self.without_expires_at).unsigned_abs()
    }
}

/// What one transaction of a restamp did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct RestampBatch {
    /// Rows that were changed.
    pub changed: i64,
    /// Where the next batch begins; `None` at the end.
    pub last: Option<Uuid>,
}

/// Rows per transaction.
const ROWS_PER_BATCH: i64 = 2_000;

impl Database {
    /// Counts what [`restamp_batch`](Self::restamp_batch) would do.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn restamp_count(&self, snapshot_type: &str, ttl: Duration) -> Result<Restamp, StorageError> {
        let mut tx = self.begin(Limits::LONG, "count what would be restamped").await?;
        let statement = query_as(sql!("restamp_count.sql", "rows_of_type.sql"));
        let counts = tx.fetch_one(statement.bind(snapshot_type).bind(as_interval(ttl))).await?;
        tx.commit(counts).await
    }

    /// Counts the snapshots that never expire, because they were made before the trigger that gives each its `expires_at`.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn restamp_count_without_expiry(&self) -> Result<i64, StorageError> {
        let mut tx = self.begin(Limits::LONG, "count snapshots without expires_at").await?;
        let asked = "SELECT count(*) FROM ONLY public.snapshots WHERE expires_at IS NULL";
        let rows = tx.fetch_one(query_scalar(asked)).await?;
        tx.commit(rows).await
    }

    /// Sets `expires_at = created_at + ttl` on the next rows of a type, in one transaction, in the order of `id` after `after`.
    /// Rows that have the right value already are not written.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn restamp_batch(
        &self,
        snapshot_type: &str,
        ttl: Duration,
        after: Option<Uuid>,
    ) -> Result<RestampBatch, StorageError> {
        let mut tx = self.begin_with_triggers(Limits::PAGE, "restamp snapshots").await?;
        let statement = query_as(sql!("restamp_batch.sql", "restamp_stale.sql", "rows_of_type.sql"))
            .bind(snapshot_type)
            .bind(as_interval(ttl))
            .bind(after)
            .bind(ROWS_PER_BATCH);
        let batch = tx.fetch_one(statement).await?;
        tx.commit(batch).await
    }
}
