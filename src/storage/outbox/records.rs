//! Status changes that the backend's trigger records, until they are published.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::{Interval, whole_seconds};
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_as, sql};

/// A recorded status change.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OutboxRecord {
    /// Ascends in the order of commits within an event: its changes are serialised by the lock on the event's row.
    pub id: i64,
    /// For finding the message again; the same at each try.
    pub message_id: Uuid,
    /// Whose status changed.
    pub event_id: Uuid,
    /// Where the event has one.
    pub team_id: Option<Uuid>,
    /// Lowercase, one of the five.
    pub status: String,
    /// By the database's clock, the start of the transaction that made the change, less a microsecond: what the same
    /// transaction writes beside it counts as made after it.
    pub occurred_at: OffsetDateTime,
    /// Of the request that made the change, where the backend says so.
    pub traceparent: Option<String>,
    /// Whether an earlier record of the event is among those that were left out.
    pub is_behind: bool,
}

/// What waits to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct OutboxBacklog {
    /// Records.
    pub pending: i64,
    /// Since the transaction of the oldest of them began; in JSON whole seconds.
    #[serde(rename = "oldest_seconds", serialize_with = "whole_seconds")]
    #[sqlx(try_from = "Interval")]
    pub oldest: Duration,
}

impl Database {
    /// The oldest records for an exchange, those up to an id left out.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn outbox_records(
        &self,
        exchange: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<OutboxRecord>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read the outbox").await?;
        let statement = query_as(sql!("outbox_records.sql")).bind(after).bind(exchange).bind(i64::from(limit));
        let records = tx.fetch_all(statement).await?;
        tx.commit(records).await
    }

    /// Removes what is published.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn outbox_remove(&self, ids: &[i64]) -> Result<(), StorageError> {
        let mut tx = self.begin(Limits::SHORT, "remove what is published from the outbox").await?;
        tx.execute(query("DELETE FROM snapshot_lifecycle.outbox WHERE id = ANY ($1)").bind(ids)).await?;
        tx.commit(()).await
    }

    /// How much waits, and for how long.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn outbox_backlog(&self) -> Result<OutboxBacklog, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "measure the outbox").await?;
        let backlog = tx.fetch_one(query_as(sql!("outbox_backlog.sql"))).await?;
        tx.commit(backlog).await
    }
}
