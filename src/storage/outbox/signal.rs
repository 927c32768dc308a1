use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::{Instant, timeout};

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_as};

/// Tells when the backend has recorded something, where the connection allows it: behind a pooler in transaction mode no notification
/// arrives, so there the outbox is polled.
pub struct OutboxSignal {
    listener: Option<PgListener>,
}

/// The channel on which the trigger notifies.
const CHANNEL: &str = "snapshot_lifecycle_outbox";
/// For our own notification to come back.
const ECHO_WITHIN: Duration = Duration::from_secs(2);

impl OutboxSignal {
    /// Listens to nothing: [`wait`](Self::wait) only sleeps.
    #[must_use]
    pub const fn disconnected() -> Self {
        Self { listener: None }
    }

    /// Whether a record is told of at once.
    #[must_use]
    pub const fn listens(&self) -> bool {
        self.listener.is_some()
    }

    /// Waits for a notification, but not for longer than that.
    pub async fn wait(&mut self, at_most: Duration) {
        let Some(listener) = &mut self.listener else {
            return tokio::time::sleep(at_most).await;
        };
        let until = Instant::now() + at_most;
        match timeout(at_most, listener.try_recv()).await {
            Ok(Ok(Some(_))) => {
                // One query of the outbox serves all that have come.
                while listener.next_buffered().is_some() {}
            }
            // The connection was lost, and with it perhaps a notification: disconnected until somebody listens again.
            Ok(Ok(None) | Err(_)) => {
                self.listener = None;
                // Not at once: while the server is away the caller would busy-loop.
                tokio::time::sleep_until(until.min(Instant::now() + Duration::from_millis(500))).await;
            }
            Err(_) => {}
        }
    }
}

impl Database {
    /// Listens on a connection of its own, where one leads to the server itself or to a session of its own.
    ///
    /// A LISTEN behind a pooler in transaction mode would stay on some connection of the pooler's and tell nobody. So first the
    /// server's port must be the one that the URL names, and then a notification of our own must come back.
    pub async fn outbox_signal(&self) -> OutboxSignal {
        match timeout(ECHO_WITHIN * 3, self.listen()).await {
            Ok(Ok(listener)) => OutboxSignal { listener },
            Ok(Err(error)) => {
                tracing::debug!(error = error.one_line(), "no notifications of the outbox; polling");
                OutboxSignal::disconnected()
            }
            Err(_) => OutboxSignal::disconnected(),
        }
    }

    async fn listen(&self) -> Result<Option<PgListener>, StorageError> {
        const WHAT: &str = "listen for the outbox";
        if !self.is_notified().await? {
            return Ok(None);
        }
        let mut listener = PgListener::connect_with(&self.pool_of_one()).await.map_err(StorageError::during(WHAT))?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(StorageError::during(WHAT))?;
        let mut tx = self.begin(Limits::SHORT, WHAT).await?;
        tx.execute(query("SELECT pg_notify($1, 'echo')").bind(CHANNEL)).await?;
        tx.commit(()).await?;
        match timeout(ECHO_WITHIN, listener.try_recv()).await {
            Ok(Ok(Some(_))) => Ok(Some(listener)),
            Ok(Err(error)) => Err(StorageError::during(WHAT)(error)),
            Ok(Ok(None)) | Err(_) => Ok(None),
        }
    }

    /// Whether a notification of the trigger could reach this program.
    async fn is_notified(&self) -> Result<bool, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read the server's port").await?;
        // Where transactions may be prepared, the trigger does not notify.
        let asked = "SELECT inet_server_port(), current_setting('max_prepared_transactions') = '0'";
        let (port, notifies): (Option<i32>, bool) = tx.fetch_one(query_as(asked)).await?;
        tx.commit(notifies && port == Some(i32::from(self.port()))).await
    }
}
