use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::{Instant, timeout};

use super::records::CHANNEL;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// Tells when the host has recorded something, where the connection allows it: behind a pooler in transaction mode nobody is
/// told, so there the outbox is looked at from time to time.
pub struct OutboxSignal {
    listener: Option<PgListener>,
}

/// For our own notification to come back.
const ECHO_WITHIN: Duration = Duration::from_secs(2);

impl OutboxSignal {
    /// Hears nothing.
    #[must_use]
    pub const fn deaf() -> Self {
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
                // One look serves all that have come.
                while listener.next_buffered().is_some() {}
            }
            // The connection was lost, and with it perhaps a notification: deaf until somebody listens anew.
            Ok(Ok(None) | Err(_)) => {
                self.listener = None;
                // Not at once: where the server is away the caller would turn round in circles.
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
                OutboxSignal::deaf()
            }
            Err(_) => OutboxSignal::deaf(),
        }
    }

    async fn listen(&self) -> Result<Option<PgListener>, StorageError> {
        const WHAT: &str = "listen for the outbox";
        if !self.is_told().await? {
            return Ok(None);
        }
        let mut listener = PgListener::connect_with(&self.pool_of_one()).await.map_err(StorageError::during(WHAT))?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(StorageError::during(WHAT))?;
        let mut tx = self.begin_within(Limits::SHORT, None).await?;
        sqlx::query("SELECT pg_notify($1, 'echo')")
            .persistent(false)
            .bind(CHANNEL)
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
        Self::commit(tx).await?;
        match timeout(ECHO_WITHIN, listener.try_recv()).await {
            Ok(Ok(Some(_))) => Ok(Some(listener)),
            Ok(Err(error)) => Err(StorageError::during(WHAT)(error)),
            Ok(Ok(None)) | Err(_) => Ok(None),
        }
    }

    /// Whether a notification of the trigger could reach this program.
    async fn is_told(&self) -> Result<bool, StorageError> {
        const WHAT: &str = "look at the server's port";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            // Where transactions may be prepared, the trigger does not notify.
            let (port, notifies): (Option<i32>, bool) =
                sqlx::query_as("SELECT inet_server_port(), current_setting('max_prepared_transactions') = '0'")
                    .persistent(false)
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(notifies && port == Some(i32::from(self.port())))
        })
        .await
    }
}
