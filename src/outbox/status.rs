use serde::Serialize;

use crate::storage::{Database, OutboxBacklog, OutboxTrigger, StorageError};

/// Where status changes are recorded, and how many wait to be published.
#[derive(Debug, Serialize)]
pub struct OutboxStatus {
    /// The tables that have the trigger.
    pub installed: Vec<OutboxTrigger>,
    /// The records that wait.
    #[serde(flatten)]
    pub backlog: OutboxBacklog,
}

impl OutboxStatus {
    /// Reads both.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn read(database: &Database) -> Result<Self, StorageError> {
        Ok(Self { installed: database.outbox_triggers().await?, backlog: database.outbox_backlog().await? })
    }
}
