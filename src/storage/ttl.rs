//! Statements of the second rule: expiry, by the database's clock.

use time::OffsetDateTime;

use super::{Database, LeaseName, Limits, StorageError, delete_budget, lease};
use crate::policy::Rule;

/// One batch of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlBatch {
    /// Rows found and locked; none when nothing expired is left behind the cursor.
    pub found: u64,
    /// Rows deleted: all of them, unless a trigger of the host keeps some.
    pub deleted: u64,
    /// Where the next batch begins; absent for the beginning.
    pub cursor: Option<OffsetDateTime>,
}

/// What is expired now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Expired {
    /// Rows.
    pub rows: i64,
    /// Seconds since the oldest of them expired.
    pub oldest_seconds: i64,
}

impl Database {
    /// The instant up to which one sweep deletes: now by the database's clock, fixed for the pass so that it ends.
    pub async fn ttl_cutoff(&self) -> Result<OffsetDateTime, StorageError> {
        self.within(Limits::SHORT, "read the database's clock", async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let now = sqlx::query_scalar("SELECT now()")
                .persistent(false)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during("read the database's clock"))?;
            Self::commit(tx).await?;
            Ok(now)
        })
        .await
    }

    /// Deletes at most `rows` snapshots with `cursor <= expires_at <= cutoff` in one transaction, oldest expiry first.
    ///
    /// `-infinity` has no place in our type for instants, so the cursor stays at the beginning while such rows go.
    /// Rows locked by others are passed over; the next sweep finds them again. The cursor keeps the scan from walking the
    /// dead index entries of earlier batches. Returns `None` where the lease is lost, and deletes nothing then.
    pub async fn delete_expired(
        &self,
        holder: uuid::Uuid,
        cursor: Option<OffsetDateTime>,
        cutoff: OffsetDateTime,
        rows: u32,
        rate: Option<u32>,
    ) -> Result<Option<TtlBatch>, StorageError> {
        self.within(Limits::SHORT, "delete expired snapshots", async {
            let mut tx = self.begin(Limits::SHORT, Some(Rule::Ttl)).await?;
            if !lease::renew_in(&mut tx, LeaseName::Ttl, holder).await? {
                return Ok(None);
            }
            let (found, deleted, next): (i64, i64, Option<OffsetDateTime>) = sqlx::query_as(
                "WITH doomed AS MATERIALIZED ( \
                 SELECT id, expires_at FROM ONLY public.snapshots \
                 WHERE expires_at <= $2 AND ($1::timestamptz IS NULL OR expires_at >= $1) \
                 ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED \
             ), gone AS ( \
                 DELETE FROM ONLY public.snapshots AS s USING doomed AS d WHERE s.id = d.id RETURNING 1 \
             ) SELECT (SELECT count(*) FROM doomed), (SELECT count(*) FROM gone), \
                 (SELECT NULLIF(max(expires_at), '-infinity') FROM doomed)",
            )
            .persistent(false)
            .bind(cursor)
            .bind(cutoff)
            .bind(i64::from(rows))
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during("delete expired snapshots"))?;
            let (found, deleted) = (found.unsigned_abs(), deleted.unsigned_abs());
            delete_budget::charge(&mut tx, deleted, rate).await?;
            Self::commit(tx).await?;
            Ok(Some(TtlBatch { found, deleted, cursor: next }))
        })
        .await
    }

    /// Counts what a sweep would delete now.
    pub async fn count_expired(&self) -> Result<Expired, StorageError> {
        self.within(Limits::LONG, "count expired snapshots", async {
            let mut tx = self.begin(Limits::LONG, None).await?;
            let (rows, oldest_seconds) = sqlx::query_as(
                "SELECT count(*), extract(epoch FROM now() - GREATEST(COALESCE(min(expires_at), now()), '0001-01-01Z'))::bigint \
                 FROM ONLY public.snapshots WHERE expires_at <= now()",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during("count expired snapshots"))?;
            Self::commit(tx).await?;
            Ok(Expired { rows, oldest_seconds })
        })
        .await
    }
}
