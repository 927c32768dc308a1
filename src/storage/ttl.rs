//! Statements of the second rule: expiry, by the database's clock.

use time::OffsetDateTime;
use uuid::Uuid;

use super::batch::kept_rows;
use super::timestamp::Timestamp;
use super::{Batch, Database, LeaseName, Limits, NextRow, StorageError, delete_budget, lease};
use crate::policy::Rule;

/// A place in the order of a sweep: by `expires_at`, and rows of one instant as the index has them, by their place in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TtlPlace {
    expires_at: Timestamp,
    ctid: String,
}

/// What is expired now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Expired {
    /// Rows.
    pub rows: i64,
    /// Seconds since the oldest of them expired.
    pub oldest_seconds: i64,
}

/// As SQL: the next rows up to the cutoff `$1` behind the place (`$2`, `$3`), if any, at most `$4`, locked.
///
/// A place that is wrong by now, because a row was updated meanwhile, costs no row more than this pass: the next one begins at the start.
macro_rules! doomed {
    () => {
        "SELECT ctid AS place, id, expires_at FROM ONLY public.snapshots \
         WHERE expires_at <= $1 AND ($2::timestamptz IS NULL OR (expires_at >= $2 AND (expires_at > $2 OR ctid > $3::tid))) \
         ORDER BY expires_at LIMIT $4 FOR UPDATE SKIP LOCKED"
    };
}

type BatchRow = (i64, i64, i64, Vec<Uuid>, Option<Timestamp>, Option<String>);

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

    /// Deletes at most `rows` snapshots with `expires_at <= cutoff` in one transaction, oldest expiry first, from the beginning or behind
    /// a place.
    ///
    /// Rows locked by others are passed over; the next sweep finds them again. The place keeps the scan from walking the
    /// dead index entries of earlier batches. Returns `None` where the lease is lost, and deletes nothing then.
    pub async fn delete_expired(
        &self,
        holder: Uuid,
        after: Option<&TtlPlace>,
        cutoff: OffsetDateTime,
        rows: u32,
        rate: Option<u32>,
    ) -> Result<Option<Batch<TtlPlace>>, StorageError> {
        const WHAT: &str = "delete expired snapshots";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, Some(Rule::Ttl)).await?;
            if !lease::renew_to_delete(&mut tx, LeaseName::Ttl, holder).await? {
                return Ok(None);
            }
            let (found, deleted, kept, kept_ids, expires_at, ctid): BatchRow = sqlx::query_as(concat!(
                "WITH doomed AS MATERIALIZED (",
                doomed!(),
                "), gone AS ( \
                     DELETE FROM ONLY public.snapshots AS s USING doomed AS d WHERE s.ctid = d.place AND s.expires_at <= $1 RETURNING d.place \
                 ), ",
                kept_rows!(),
                ", last AS MATERIALIZED (SELECT expires_at, place FROM doomed ORDER BY expires_at DESC, place DESC LIMIT 1) \
                 SELECT (SELECT count(*) FROM doomed), (SELECT count(*) FROM gone), (SELECT count(*) FROM kept), ARRAY(SELECT id FROM kept LIMIT 5), \
                        (SELECT expires_at FROM last), (SELECT place::text FROM last)"
            ))
            .persistent(false)
            .bind(cutoff)
            .bind(after.map(|place| place.expires_at))
            .bind(after.map(|place| &place.ctid))
            .bind(i64::from(rows))
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            let (found, deleted, kept) = (found.unsigned_abs(), deleted.unsigned_abs(), kept.unsigned_abs());
            delete_budget::charge(&mut tx, deleted, rate).await?;
            Self::commit(tx).await?;
            let last = expires_at.zip(ctid).map(|(expires_at, ctid)| TtlPlace { expires_at, ctid });
            Ok(Some(Batch { found, deleted, kept, kept_ids, last }))
        })
        .await
    }

    /// The row that [`delete_expired`](Self::delete_expired) of one row would take.
    pub async fn next_expired(
        &self,
        after: Option<&TtlPlace>,
        cutoff: OffsetDateTime,
    ) -> Result<Option<NextRow<TtlPlace>>, StorageError> {
        const WHAT: &str = "find the next expired snapshot";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let row: Option<(Uuid, Timestamp, String)> = sqlx::query_as(concat!(
                "WITH doomed AS MATERIALIZED (",
                doomed!(),
                ") SELECT id, expires_at, place::text FROM doomed"
            ))
            .persistent(false)
            .bind(cutoff)
            .bind(after.map(|place| place.expires_at))
            .bind(after.map(|place| &place.ctid))
            .bind(1_i64)
            .fetch_optional(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(row.map(|(id, expires_at, ctid)| NextRow { id, place: TtlPlace { expires_at, ctid } }))
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
