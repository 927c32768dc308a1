use std::time::Duration;

use super::ttl_interval::as_interval;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_as, query_scalar, sql};

/// A row of the retention policy, with the snapshots that it applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeRetention {
    /// The type; `*` applies to every type without its own row.
    pub snapshot_type: String,
    /// From `created_at` to `expires_at`, where none is given; in whole seconds.
    pub ttl: Duration,
    /// Whether such snapshots outlive their event.
    pub keep_after_event: bool,
    /// Snapshots that exist now.
    pub rows: RowsOfType,
}

/// The snapshots of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct RowsOfType {
    /// All.
    pub all: i64,
    /// Those with an event.
    pub with_event: i64,
}

impl Database {
    /// The whole policy, `*` last.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn retention_list(&self) -> Result<Vec<TypeRetention>, StorageError> {
        let mut tx = self.begin(Limits::LONG, "read the retention policy").await?;
        let rows: Vec<(String, i64, bool, i64, i64)> = tx.fetch_all(query_as(sql!("retention_list.sql"))).await?;
        let row = |(snapshot_type, seconds, keep_after_event, all, with_event): (_, i64, _, _, _)| TypeRetention {
            snapshot_type,
            ttl: Duration::from_secs(seconds.unsigned_abs()),
            keep_after_event,
            rows: RowsOfType { all, with_event },
        };
        tx.commit(rows.into_iter().map(row).collect()).await
    }

    /// The snapshots of a type.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn retention_count(&self, snapshot_type: &str) -> Result<RowsOfType, StorageError> {
        let mut tx = self.begin(Limits::LONG, "count snapshots of a type").await?;
        let statement = query_as(sql!("retention_count.sql", "rows_of_type.sql")).bind(snapshot_type);
        let counts = tx.fetch_one(statement).await?;
        tx.commit(counts).await
    }

    /// Sets the TTL of a type, and whether it outlives its event. Inserts and event ends follow from the next one on.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn retention_set(&self, snapshot_type: &str, ttl: Duration, keep: bool) -> Result<(), StorageError> {
        let mut tx = self.begin(Limits::SHORT, "change the retention policy").await?;
        let statement = query(sql!("retention_set.sql")).bind(snapshot_type).bind(as_interval(ttl)).bind(keep);
        tx.execute(statement).await?;
        tx.commit(()).await
    }

    /// Whether the role may change the policy and, where rows are to be restamped, their `expires_at`.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn retention_may_set(&self, restamp: bool) -> Result<bool, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "check the role's privileges").await?;
        let may = tx.fetch_one(query_scalar(sql!("retention_may_set.sql")).bind(restamp)).await?;
        tx.commit(may).await
    }
}
