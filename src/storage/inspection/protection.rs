use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// What protects the table from the backend's own writers, and its rows from a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct TableProtection {
    /// Row-level security is on.
    pub isolated: bool,
    /// It binds this role.
    pub binds_role: bool,
    /// The trigger that fills a missing `expires_at` exists and fires.
    pub fills_expiry: bool,
    /// `expires_at` may be NULL.
    pub expiry_may_be_missing: bool,
    /// It is published for logical replication without what tells rows apart there, so the server refuses each DELETE.
    pub published_without_identity: bool,
}

impl Database {
    /// What protects `public.snapshots`.
    ///
    /// # Errors
    /// If the database does not answer or refuses, or has no such table.
    pub async fn protection(&self) -> Result<TableProtection, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read row-level security and triggers").await?;
        let protection = tx.fetch_one(query_as(sql!("protection.sql"))).await?;
        tx.commit(protection).await
    }
}
