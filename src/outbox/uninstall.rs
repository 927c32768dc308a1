use std::fmt;

use serde::Serialize;

use super::status::OutboxStatus;
use super::table_name::TableName;
use crate::storage::{Database, OutboxTrigger, StorageError};

/// Removes the trigger. What is recorded stays and is still published.
#[derive(Debug)]
pub struct Uninstall {
    /// Only from this table.
    pub table: Option<TableName>,
}

/// What an uninstallation did, or would do.
#[derive(Debug, Serialize)]
pub struct UninstallReport {
    /// Whether this is a preview.
    pub dry_run: bool,
    /// What is removed, or would be.
    pub triggers: Vec<OutboxTrigger>,
    /// How many were removed.
    pub removed: usize,
    /// What is left.
    #[serde(flatten)]
    pub status: OutboxStatus,
}

/// Why an uninstallation failed.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The triggers could not be removed, and all are left.
    #[error(transparent)]
    NotRemoved(StorageError),
    /// Which there are could not be read.
    #[error(transparent)]
    NotRead(#[from] StorageError),
}

impl Uninstall {
    /// What would be removed. Nothing is changed.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn preview(&self, database: &Database) -> Result<UninstallReport, UninstallError> {
        let triggers = self.triggers(database).await?;
        Ok(UninstallReport { dry_run: true, triggers, removed: 0, status: OutboxStatus::read(database).await? })
    }

    /// Removes the triggers, all or none.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn run(&self, database: &Database) -> Result<UninstallReport, UninstallError> {
        let triggers = self.triggers(database).await?;
        database.outbox_uninstall(&triggers).await.map_err(UninstallError::NotRemoved)?;
        let (removed, status) = (triggers.len(), OutboxStatus::read(database).await?);
        Ok(UninstallReport { dry_run: false, triggers, removed, status })
    }

    async fn triggers(&self, database: &Database) -> Result<Vec<OutboxTrigger>, StorageError> {
        let mut triggers = database.outbox_triggers().await?;
        if let Some(TableName { schema, name }) = &self.table {
            triggers.retain(|trigger| trigger.is_on(schema, name));
        }
        Ok(triggers)
    }
}

/// The sentences under a table of the triggers.
impl fmt::Display for UninstallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.triggers.is_empty(), self.dry_run) {
            (true, _) => "no such table has the trigger",
            (false, true) => "would remove the trigger from these tables; nothing was changed, add --yes to do it",
            (false, false) => "removed the trigger from these tables",
        })?;
        write!(f, "\n{}", self.status.waiting())
    }
}
