use std::time::Duration;

use time::OffsetDateTime;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::Interval;
use crate::storage::statement::{query_as, sql};
use crate::storage::transaction::Limits;

/// What the gauges show of the database.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
pub struct Backlog {
    /// Expired rows that are still there.
    pub expired: i64,
    /// Since the oldest of them expired; zero without any.
    #[sqlx(try_from = "Interval")]
    pub oldest_expired: Duration,
    /// When any replica last completed a TTL sweep.
    pub last_ttl_pass: Option<OffsetDateTime>,
    /// When any replica last completed an eviction.
    pub last_cap_pass: Option<OffsetDateTime>,
}

impl Database {
    /// Reads the gauges in one statement.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn backlog(&self) -> Result<Backlog, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "measure the backlog").await?;
        let backlog = tx.fetch_one(query_as(sql!("backlog.sql"))).await?;
        tx.commit(backlog).await
    }
}
