//! `LIFECYCLE_DELETE_RATE`: what sweeps and evictions of all replicas together may delete.
//!
//! One row says from when on the next delete is free. A batch waits for that moment, outside any transaction, deletes, and
//! moves it on by what it deleted. Two deleters that wait for the same moment both go and both pay, so the rate holds on
//! average and is exceeded by one batch each at most; a batch is never larger than the rate, so it is paid for within a second.

use std::time::Duration;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::Interval;
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_as, sql};
use crate::storage::transaction::Tx;

/// The moment of the next delete is never further ahead than this, with some seconds for good measure: two deleters at most, each with a
/// batch of a second. Beyond it, the database's clock has stepped back since.
const FARTHEST: Duration = Duration::from_secs(5);

#[derive(sqlx::FromRow)]
struct Wait {
    #[sqlx(try_from = "Interval")]
    wait: Duration,
    was_set_back: bool,
}

impl Database {
    /// How long to wait until the budget is free; zero where it is.
    ///
    /// A moment too far ahead is not waited for: it is set back to now, and logged.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn delete_budget_wait(&self) -> Result<Duration, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read the delete budget").await?;
        let statement = query_as(sql!("delete_budget_wait.sql")).bind(Interval(FARTHEST));
        let Wait { wait, was_set_back } = tx.fetch_one(statement).await?;
        tx.commit(()).await?;
        if was_set_back {
            tracing::warn!(
                "the database's clock has stepped back: the delete budget lay in the future, and was set back to now"
            );
            return Ok(Duration::ZERO);
        }
        Ok(wait)
    }
}

/// Takes `rows` from the budget in the transaction that deleted them. Without a rate there is no budget.
pub(in crate::storage) async fn charge(tx: &mut Tx, rows: u64, rate: Option<u32>) -> Result<(), StorageError> {
    const SQL: &str = "UPDATE snapshot_lifecycle.delete_budget SET free_at = GREATEST(free_at, clock_timestamp()) + $1";
    let Some(rate) = rate else { return Ok(()) };
    let cost = Duration::from_secs_f64(rows as f64 / f64::from(rate));
    tx.execute(query(SQL).bind(Interval(cost))).await?;
    Ok(())
}
