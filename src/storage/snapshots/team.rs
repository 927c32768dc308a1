use uuid::Uuid;

use crate::storage::error::StorageError;
use crate::storage::statement::query;
use crate::storage::transaction::Tx;

/// Names the team to the backend's row-level security policy, until the transaction ends.
pub(super) async fn act_for(tx: &mut Tx, team_id: Uuid) -> Result<(), StorageError> {
    let statement = query("SELECT pg_catalog.set_config('app.current_team_id', $1, true)");
    tx.execute(statement.bind(team_id.to_string())).await?;
    Ok(())
}
