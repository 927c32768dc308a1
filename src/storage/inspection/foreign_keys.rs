use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// A foreign key of another table of the backend that refers to snapshots.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ForeignKey {
    /// The table that refers, with its schema.
    pub table: String,
    /// Whether its rows keep a snapshot from being deleted.
    pub blocks: bool,
    /// Whether its rows go with the snapshot.
    pub cascades: bool,
    /// Its columns, where no index begins with them: each snapshot deleted costs a walk over the whole table.
    pub columns_without_index: Option<String>,
}

impl Database {
    /// Foreign keys of other tables that refer to snapshots.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn foreign_keys(&self) -> Result<Vec<ForeignKey>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "find tables that refer to snapshots").await?;
        let foreign_keys = tx.fetch_all(query_as(sql!("foreign_keys.sql"))).await?;
        tx.commit(foreign_keys).await
    }
}
