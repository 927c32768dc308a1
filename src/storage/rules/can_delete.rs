//! Whether deletes pass at all: asked where one has failed, and before messages are taken.

use uuid::Uuid;

use crate::policy::Rule;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::retention::delete_terms::DeleteTerms;
use crate::storage::statement::query;

/// It compares every column that the real one does: a column that was renamed, or has another type, fails each event.
const DELETE_NOTHING: &str = r"
    DELETE FROM ONLY public.snapshots
    WHERE id = $1 AND event_id = $1 AND team_id = $1 AND created_at <= pg_catalog.now() AND event_id IS NULL";

/// With the table that a delete may write to beside the snapshots. IS NULL: sqlx would ask for the type of the answer in between, and so
/// lose the unnamed statement.
const WRITE_TO_THE_LOG: &str = r"
    WITH noted AS (INSERT INTO snapshot_lifecycle.applied_ahead SELECT a.* FROM snapshot_lifecycle.applied_ahead AS a WHERE false)
    SELECT pg_catalog.pg_logical_emit_message(true, 'snapshot_lifecycle', 'can it commit') IS NULL";

impl Database {
    /// A delete that deletes nothing, under the locks and the privileges of one that does, and a commit that is written: succeeds
    /// where only particular rows make trouble, fails where every delete would.
    ///
    /// A commit that has written nothing waits for no standby, and needs no transaction id; so it passes where that of a real delete
    /// waits for ever, or is refused.
    ///
    /// # Errors
    /// If no delete passes now.
    pub async fn can_delete(&self, limits: Limits) -> Result<(), StorageError> {
        let mut tx = self.begin_delete(limits, Rule::EventEnd, "test whether a delete passes").await?;
        DeleteTerms::load(&mut tx, &[]).await?;
        tx.execute(query(DELETE_NOTHING).bind(Uuid::nil())).await?;
        tx.execute(query(WRITE_TO_THE_LOG)).await?;
        tx.commit(()).await
    }
}
