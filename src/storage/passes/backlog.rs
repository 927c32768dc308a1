use time::OffsetDateTime;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// What the gauges show of the database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Expired rows that are still there.
    pub expired: i64,
    /// Seconds since the oldest of them expired; 0 without any.
    pub oldest_expired_seconds: f64,
    /// When the last TTL sweep of the fleet ended well.
    pub last_ttl_pass: Option<OffsetDateTime>,
    /// When the last eviction of the fleet ended well.
    pub last_cap_pass: Option<OffsetDateTime>,
}

impl Database {
    /// Reads the gauges in one statement, an index-only scan over what is expired.
    pub async fn backlog(&self) -> Result<Backlog, StorageError> {
        self.within(Limits::SHORT, "measure the backlog", async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let (expired, oldest_expired_seconds, last_ttl_pass, last_cap_pass) = sqlx::query_as(
                "SELECT count(*), extract(epoch FROM now() - GREATEST(COALESCE(min(expires_at), now()), '0001-01-01Z'))::float8, \
                        (SELECT completed_at FROM snapshot_lifecycle.lease WHERE name = 'ttl'), \
                        (SELECT completed_at FROM snapshot_lifecycle.lease WHERE name = 'cap') \
                 FROM ONLY public.snapshots WHERE expires_at <= now()",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during("measure the backlog"))?;
            Self::commit(tx).await?;
            Ok(Backlog { expired, oldest_expired_seconds, last_ttl_pass, last_cap_pass })
        })
        .await
    }
}
