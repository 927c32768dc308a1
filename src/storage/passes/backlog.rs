use std::time::Duration;

use time::OffsetDateTime;

use crate::policy::PassName;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::Interval;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// What the gauges show of the database.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Backlog {
    /// Expired rows that exist.
    pub expired: i64,
    /// Since the oldest of them expired; zero without any.
    #[sqlx(try_from = "Interval")]
    pub oldest_expired: Duration,
    /// In the order of [`PassName::ALL`].
    last_passes: Vec<Option<OffsetDateTime>>,
}

impl Backlog {
    /// When any replica last completed the pass.
    #[must_use]
    pub fn last_pass(&self, pass: PassName) -> Option<OffsetDateTime> {
        self.last_passes.get(pass as usize).copied().flatten()
    }
}

impl Database {
    /// Reads the gauges in one statement.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn backlog(&self) -> Result<Backlog, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "measure the backlog").await?;
        let passes = PassName::ALL.map(PassName::as_str).to_vec();
        let backlog = tx.fetch_one(query_as(sql!("backlog.sql")).bind(passes)).await?;
        tx.commit(backlog).await
    }
}
