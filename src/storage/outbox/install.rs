use sqlx::AssertSqlSafe;

use super::installed::{OutboxColumns, OutboxTrigger, VERSION};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// What the trigger shall watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSource {
    /// `public` unless given.
    pub schema: String,
    /// The backend's table of events.
    pub table: String,
    /// What is read of each row.
    pub columns: OutboxColumns,
    /// Whether rows that are inserted are recorded too: also those of an import or a restore, each a new end of its event.
    pub on_insert: bool,
    /// Where its records are published; to the exchange of whichever fleet takes them, unless it is named.
    pub exchange: Option<String>,
}

/// Why the trigger was not installed.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The table or a column does not exist or is not fit.
    #[error("{0}")]
    Unfit(String),
    /// Anything else.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Database {
    /// Installs the trigger, or replaces it with other columns; all or nothing.
    ///
    /// Its function runs as its owner, because the backend's roles have no rights in our schema. It never fails the backend's
    /// statement for a status that it does not know: such a change is not recorded.
    ///
    /// # Errors
    /// If the table is not fit, with the reason; if the database does not answer or refuses.
    pub async fn outbox_install(&self, source: &OutboxSource) -> Result<(), OutboxError> {
        #[derive(sqlx::FromRow)]
        struct Answer {
            problem: Option<String>,
            statements: Option<String>,
        }
        let mut tx = self.begin(Limits::SHORT, "install the outbox's trigger").await?;
        let statement = query_as(sql!("outbox_install.sql", "outbox_trigger_function.sql"))
            .bind(&source.schema)
            .bind(&source.table)
            .bind(&source.columns.id)
            .bind(&source.columns.status)
            .bind(source.columns.team.as_deref())
            .bind(source.on_insert)
            .bind(source.exchange.as_deref())
            .bind(VERSION);
        let Answer { problem, statements } = tx.fetch_one(statement).await?;
        if let Some(problem) = problem {
            return Err(OutboxError::Unfit(problem));
        }
        if let Some(statements) = statements {
            // The server has quoted every name in it.
            tx.execute_script(AssertSqlSafe(statements)).await?;
        }
        Ok(tx.commit(()).await?)
    }

    /// Removes these triggers and their functions. What is recorded stays and is still published.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn outbox_uninstall(&self, triggers: &[OutboxTrigger]) -> Result<(), StorageError> {
        let mut tx = self.begin(Limits::SHORT, "uninstall the outbox's trigger").await?;
        for trigger in triggers {
            // The server has quoted the name. Its triggers go with it; to drop only those one must own the table.
            let drop = format!("DROP FUNCTION IF EXISTS {} CASCADE", trigger.made.function);
            tx.execute_script(AssertSqlSafe(drop)).await?;
        }
        tx.commit(()).await
    }
}
