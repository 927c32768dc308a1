use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::access::AccessError;
use super::migrations::missing;
use crate::storage::database::Database;

const ASK_EVERY: Duration = Duration::from_secs(1);

impl Database {
    /// Waits until every migration of this program is applied, whoever applies them, and changes nothing.
    ///
    /// Every error is waited for, a refused login included: the owner makes the worker's role after the migration. `on_wait` is told the
    /// reason whenever it changes.
    ///
    /// # Errors
    /// The last reason, when the time is up.
    pub async fn migrations_wait(
        &self,
        at_most: Duration,
        on_wait: impl Fn(&str) + Send + Sync,
    ) -> Result<(), AccessError> {
        let deadline = Instant::now() + at_most;
        let mut told = String::new();
        loop {
            let reason = match missing(self).await {
                Ok(missing) if missing.is_empty() => return Ok(()),
                Ok(missing) => AccessError::NotMigrated(missing.len()),
                Err(error) => AccessError::Storage(error),
            };
            if Instant::now() >= deadline {
                return Err(reason);
            }
            let text = reason.one_line();
            if text != told {
                on_wait(&text);
                told = text;
            }
            sleep(ASK_EVERY).await;
        }
    }
}
