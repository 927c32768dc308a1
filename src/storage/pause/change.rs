use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::state::Pause;
use crate::policy::Activity;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::Interval;
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_as, query_scalar, sql};

/// Longer than a deleting transaction of a worker may last, its commit included.
const END_WITHIN: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(50);

impl Database {
    /// Pauses for this time, or until it is resumed. A pause in force that ends later stays as it is.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn pause_set(
        &self,
        activities: &[Activity],
        length: Option<Duration>,
        os_user: Option<&str>,
    ) -> Result<(), StorageError> {
        let mut tx = self.begin(Limits::SHORT, "pause").await?;
        let statement = query(sql!("pause_set.sql", "pause_in_force.sql"));
        tx.execute(statement.bind(names(activities)).bind(length.map(Interval)).bind(os_user)).await?;
        tx.commit(()).await
    }

    /// Ends the pause of each, and returns what was paused.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn pause_end(&self, activities: &[Activity]) -> Result<Vec<Pause>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "resume").await?;
        let statement = query_as(sql!("pause_end.sql", "pause_columns.sql", "pause_in_force.sql"));
        let ended = tx.fetch_all(statement.bind(names(activities))).await?;
        tx.commit(ended).await
    }

    /// Waits until every transaction is over that had read what was paused before now; `false` if one lasts for longer than it is waited
    /// for. After it nothing of a worker's is deleted that the pause was to stop.
    ///
    /// Waiting for the lock that each of them holds would be shorter, and would keep out those that come after it meanwhile.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn pause_await_deletes(&self) -> Result<bool, StorageError> {
        let began = Instant::now();
        let mut open = self.pause_readers().await?;
        while !open.is_empty() {
            if began.elapsed() > END_WITHIN {
                return Ok(false);
            }
            sleep(ASK_EVERY).await;
            let now = self.pause_readers().await?;
            open.retain(|transaction| now.contains(transaction));
        }
        Ok(true)
    }

    async fn pause_readers(&self) -> Result<BTreeSet<String>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "find transactions under way").await?;
        let readers: Vec<String> = tx.fetch_all(query_scalar(sql!("pause_readers.sql"))).await?;
        tx.commit(readers.into_iter().collect()).await
    }
}

fn names(activities: &[Activity]) -> Vec<&'static str> {
    activities.iter().copied().map(Activity::as_str).collect()
}
