//! Statements of the second rule: expiry, by the database's clock.

use time::OffsetDateTime;
use uuid::Uuid;

use super::batch::{Batch, NextRow, kept_rows};
use super::timestamp::Timestamp;
use crate::policy::Rule;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::passes::lease::LeaseName;
use crate::storage::passes::{delete_budget, lease};
use crate::storage::transaction::Limits;

/// A place in the order of a sweep: an instant, without the rows of that instant that could not be deleted.
///
/// So rows of one instant need no order among each other, which an index has only by chance and a sort would have to make anew for each
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Expired {
    /// Rows.
    pub rows: i64,
    /// Seconds since the oldest of them expired.
    pub oldest_seconds: i64,
}

/// As SQL: the next rows up to the cutoff `$1` from the instant `$2` on, if any, but not those of `$3`; nor any of that instant where `$4`
/// says so; at most `$5`, locked.
macro_rules! doomed {
    () => {
        "SELECT ctid AS place, id, expires_at FROM ONLY public.snapshots \
         WHERE expires_at <= $1 AND ($2::timestamptz IS NULL OR (expires_at >= $2 AND id <> ALL ($3::uuid[]) AND NOT ($4 AND expires_at = $2))) \
         ORDER BY expires_at LIMIT $5 FOR UPDATE SKIP LOCKED"
    };
}

type BatchRow = (i64, i64, i64, Vec<Uuid>, Option<Timestamp>, Vec<Uuid>);

impl Database {
    /// The instant up to which one sweep deletes: now by the database's clock, fixed for the pass so that it ends.
    pub async fn ttl_cutoff(&self) -> Result<OffsetDateTime, StorageError> {
        self.within(Limits::SHORT, "read the database's clock", async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
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
            let mut tx = self.begin_within(Limits::SHORT, Some(Rule::Ttl)).await?;
            if !lease::renew_to_delete(&mut tx, LeaseName::Ttl, holder).await? {
                return Ok(None);
            }
            let (found, deleted, kept, kept_ids, last, kept_last): BatchRow = sqlx::query_as(concat!(
                "WITH doomed AS MATERIALIZED (",
                doomed!(),
                "), gone AS ( \
                     DELETE FROM ONLY public.snapshots AS s USING doomed AS d WHERE s.ctid = d.place AND (s.expires_at <= $1) IS TRUE RETURNING d.place \
                 ), ",
                kept_rows!(),
                " SELECT (SELECT count(*) FROM doomed), (SELECT count(*) FROM gone), (SELECT count(*) FROM kept), ARRAY(SELECT id FROM kept LIMIT 5), \
                        (SELECT max(expires_at) FROM doomed), ARRAY(SELECT id FROM kept WHERE expires_at = (SELECT max(expires_at) FROM doomed))"
            ))
            .persistent(false)
            .bind(cutoff)
            .bind(after.map(|place| place.expires_at))
            .bind(after.map_or(&[][..], |place| &place.stayed))
            .bind(after.is_some_and(|place| place.behind))
            .bind(i64::from(rows))
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            let (found, deleted, kept) = (found.unsigned_abs(), deleted.unsigned_abs(), kept.unsigned_abs());
            delete_budget::charge(&mut tx, deleted, rate).await?;
            Self::commit(tx).await?;
            let last = last.map(|expires_at| TtlPlace::new(after, expires_at, kept_last));
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
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let row: Option<(Uuid, Timestamp)> = sqlx::query_as(concat!(
                "WITH doomed AS MATERIALIZED (",
                doomed!(),
                ") SELECT id, expires_at FROM doomed"
            ))
            .persistent(false)
            .bind(cutoff)
            .bind(after.map(|place| place.expires_at))
            .bind(after.map_or(&[][..], |place| &place.stayed))
            .bind(after.is_some_and(|place| place.behind))
            .bind(1_i64)
            .fetch_optional(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(row.map(|(id, expires_at)| NextRow { id, place: TtlPlace::new(after, expires_at, vec![id]) }))
        })
        .await
    }

    /// Counts what a sweep would delete now.
    pub async fn count_expired(&self) -> Result<Expired, StorageError> {
        self.within(Limits::LONG, "count expired snapshots", async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
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
