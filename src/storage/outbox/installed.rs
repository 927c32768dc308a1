use std::fmt;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// Of the text of the trigger's function: `migrate` replaces those of an older one.
pub(super) const VERSION: i32 = 3;

/// Our trigger on a table, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct OutboxTrigger {
    /// With its schema.
    pub table: String,
    /// Which columns are read, by the names they had when it was installed.
    #[sqlx(flatten)]
    pub columns: OutboxColumns,
    /// Whether a row that is inserted is recorded, and not only a change of status.
    pub on_insert: bool,
    /// Where its records are published; to the exchange of whichever fleet takes them, unless it is named.
    pub exchange: Option<String>,
    /// Whether it fires.
    pub enabled: bool,
    /// Whether it is to be installed again.
    pub outdated: bool,
    /// Why.
    pub problem: Option<String>,
    #[serde(skip)]
    #[sqlx(flatten)]
    pub(in crate::storage) made: Made,
}

/// What it takes to replace a trigger or to remove it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(in crate::storage) struct Made {
    pub(in crate::storage) schema: Option<String>,
    pub(in crate::storage) name: Option<String>,
    /// Quoted.
    pub(super) function: String,
    /// Whether its function has the text of an older version.
    pub(in crate::storage) is_older: bool,
    /// Whether it was installed so; the trigger itself may be gone.
    pub(in crate::storage) shall_on_insert: bool,
}

/// The columns of a table of events, by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct OutboxColumns {
    /// The event's id, a UUID.
    pub id: String,
    /// Text or an enumeration.
    pub status: String,
    /// A UUID.
    pub team: Option<String>,
}

impl OutboxTrigger {
    /// Whether it is on this table.
    #[must_use]
    pub fn is_on(&self, schema: &str, table: &str) -> bool {
        (self.made.schema.as_deref(), self.made.name.as_deref()) == (Some(schema), Some(table))
    }
}

impl fmt::Display for OutboxColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id {}, status {}, team {}", self.id, self.status, self.team.as_deref().unwrap_or("-"))
    }
}

impl Database {
    /// The tables that our trigger is on, or was.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn outbox_triggers(&self) -> Result<Vec<OutboxTrigger>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "find the outbox's triggers").await?;
        let triggers = tx.fetch_all(query_as(sql!("outbox_list_installed.sql")).bind(VERSION)).await?;
        tx.commit(triggers).await
    }
}
