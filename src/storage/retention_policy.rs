use sqlx::{Postgres, Transaction};

use super::StorageError;
use crate::policy::RetentionPolicy;

/// The policy as it stands in this transaction: read with each batch, so a change holds from the next one on.
pub(super) async fn load(tx: &mut Transaction<'static, Postgres>) -> Result<RetentionPolicy, StorageError> {
    let rows: Vec<(String, bool)> =
        sqlx::query_as("SELECT snapshot_type, keep_after_event FROM snapshot_lifecycle.retention")
            .persistent(false)
            .fetch_all(&mut **tx)
            .await
            .map_err(StorageError::during("read the retention policy"))?;
    let keep_by_default = rows.iter().any(|(name, keep)| name == "*" && *keep);
    Ok(RetentionPolicy::new(keep_by_default, rows.into_iter().filter(|(name, _)| name != "*")))
}
