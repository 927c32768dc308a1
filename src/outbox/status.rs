use std::fmt;

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

    /// How many records wait, in a sentence.
    #[must_use]
    pub fn waiting(&self) -> String {
        let OutboxBacklog { pending, oldest } = self.backlog;
        let oldest_seconds = oldest.as_secs();
        match pending {
            0 => "no record waits to be published".to_owned(),
            1 => format!("1 record waits to be published, for {oldest_seconds} s"),
            _ => format!("{pending} records wait to be published, the oldest for {oldest_seconds} s"),
        }
    }
}

/// The sentences under a table of the triggers.
impl fmt::Display for OutboxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for OutboxTrigger { table, exchange, problem, .. } in &self.installed {
            if let Some(exchange) = exchange {
                writeln!(f, "{table} is published to the exchange {exchange}")?;
            }
            if let Some(problem) = problem {
                writeln!(f, "{table}: {problem}; run `outbox install` again")?;
            }
        }
        if self.installed.is_empty() {
            writeln!(f, "no table has the trigger")?;
        }
        f.write_str(&self.waiting())
    }
}
