use crate::policy::KeptTypes;
use crate::storage::error::StorageError;
use crate::storage::statement::query_as;
use crate::storage::transaction::Tx;

/// The policy as it stands in this transaction: read with each batch, so a change holds from the next one on.
pub(in crate::storage) async fn load(tx: &mut Tx) -> Result<KeptTypes, StorageError> {
    let rows: Vec<(String, bool)> =
        tx.fetch_all(query_as("SELECT snapshot_type, keep_after_event FROM snapshot_lifecycle.retention")).await?;
    Ok(from_rows(rows))
}

pub(super) fn from_rows(rows: impl IntoIterator<Item = (String, bool)>) -> KeptTypes {
    let (all, types): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| name == "*");
    KeptTypes::new(all.iter().any(|(_, keep)| *keep), types)
}
