//! `LIFECYCLE_DELETE_RATE`: what sweeps and evictions of all replicas together may delete.
//!
//! One row says from when on the next delete is free. A batch waits for that moment, outside any transaction, deletes, and
//! moves it on by what it deleted. Two deleters that wait for the same moment both go and both pay, so the rate holds on
//! average and is exceeded by one batch each at most; a batch is never larger than the rate.

use std::time::Duration;

use sqlx::{Postgres, Transaction};

use super::{Database, Limits, StorageError};

impl Database {
    /// How long to wait until the budget is free; zero where it is.
    pub async fn budget_wait(&self) -> Result<Duration, StorageError> {
        self.within(Limits::SHORT, "read the delete budget", async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let seconds: f64 = sqlx::query_scalar(
                "SELECT COALESCE(max(GREATEST(extract(epoch FROM free_at - clock_timestamp()), 0)), 0)::float8 FROM snapshot_lifecycle.delete_budget",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during("read the delete budget"))?;
            Self::commit(tx).await?;
            Ok(Duration::from_secs_f64(seconds))
        })
        .await
    }
}

/// Takes `rows` from the budget in the transaction that deleted them. Without a rate there is no budget.
pub(super) async fn charge(
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
