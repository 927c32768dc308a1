use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_scalar, sql};

/// Any number that is ours.
const LOCK: i64 = 0x0073_6e61_7073_686f;

/// Makes what must exist before the lease that guards the rest: the same for every replica, so under a lock of its own that ends with the
/// transaction.
pub(super) async fn bootstrap(database: &Database) -> Result<(), StorageError> {
    let mut tx = database.begin(Limits::LONG, "create the schema snapshot_lifecycle").await?;
    tx.execute(query("SELECT pg_advisory_xact_lock($1)").bind(LOCK)).await?;
    // Asked for first, because CREATE … IF NOT EXISTS needs the privilege to create even where all exists.
    let exists = query_scalar("SELECT to_regclass('snapshot_lifecycle.lease') IS NOT NULL");
    if !tx.fetch_one::<bool>(exists).await? {
        tx.execute_script(sql!("bootstrap.sql")).await?;
    }
    tx.commit(()).await
}
