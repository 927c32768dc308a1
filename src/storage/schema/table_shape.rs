//! What makes `public.snapshots` a table that the statements reach as a whole, and no further than the rules say.

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};
use crate::storage::transaction::Tx;

/// A reason why the worker cannot be trusted with the table.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Misshape {
    /// What was observed.
    pub message: String,
    /// How to fix it.
    pub fix: String,
    /// Whether it is no ordinary table at all.
    pub is_of_its_kind: bool,
}

impl Database {
    /// Everything that is wrong with the kind of table; nothing where there is none.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn table_shape(&self) -> Result<Vec<Misshape>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "examine the kind of table").await?;
        let found = misshapes(&mut tx).await?;
        tx.commit(found).await
    }
}

/// Everything that is wrong with the kind of table, in a transaction that is under way.
pub(super) async fn misshapes(tx: &mut Tx) -> Result<Vec<Misshape>, StorageError> {
    tx.fetch_all(query_as(sql!("table_shape.sql"))).await
}
