//! `LIFECYCLE_DELETE_RATE`: what sweeps and evictions of all replicas together may delete.
//!
//! One row says from when on the next delete is free. A batch waits for that moment, outside any transaction, deletes, and
//! moves it on by what it deleted. Two deleters that wait for the same moment both go and both pay, so the rate holds on
//! average and is exceeded by one batch each at most; a batch is never larger than the rate, so it is paid for within a second.

use std::time::Duration;

use sqlx::{Postgres, Transaction};

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// The moment of the next delete is never further ahead than this, with some seconds for good measure: two deleters at most, each with a
/// batch of a second. Beyond it, the database's clock has stepped back since.
const FARTHEST: f64 = 5.0;

impl Database {
    /// How long to wait until the budget is free; zero where it is.
    ///
    /// A moment too far ahead is not waited for: it is set back to now, and logged.
    pub async fn budget_wait(&self) -> Result<Duration, StorageError> {
        const WHAT: &str = "read the delete budget";
        let (seconds, set_back) = self
            .within(Limits::SHORT, WHAT, async {
                let mut tx = self.begin_within(Limits::SHORT, None).await?;
                let answer: (f64, bool) = sqlx::query_as(
                    "WITH set_back AS ( \
                         UPDATE snapshot_lifecycle.delete_budget SET free_at = clock_timestamp() \
                         WHERE free_at > clock_timestamp() + make_interval(secs => $1) RETURNING 1) \
                     SELECT COALESCE(max(LEAST(GREATEST(extract(epoch FROM free_at - clock_timestamp()), 0), $1)), 0)::float8, \
                            EXISTS (SELECT FROM set_back) \
                     FROM snapshot_lifecycle.delete_budget WHERE isfinite(free_at)",
                )
                .persistent(false)
                .bind(FARTHEST)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
                Self::commit(tx).await?;
                Ok(answer)
            })
            .await?;
        if set_back {
            tracing::warn!(
                "the database's clock has stepped back: the delete budget lay in the future, and was set back to now"
            );
            return Ok(Duration::ZERO);
        }
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

/// Takes `rows` from the budget in the transaction that deleted them. Without a rate there is no budget.
pub(in crate::storage) async fn charge(
    tx: &mut Transaction<'static, Postgres>,
    rows: u64,
    rate: Option<u32>,
) -> Result<(), StorageError> {
    let Some(rate) = rate else { return Ok(()) };
    sqlx::query("UPDATE snapshot_lifecycle.delete_budget SET free_at = GREATEST(free_at, clock_timestamp()) + make_interval(secs => $1)")
        .persistent(false)
        .bind(rows as f64 / f64::from(rate))
        .execute(&mut **tx)
        .await
        .map_err(StorageError::during("charge the delete budget"))?;
    Ok(())
}
