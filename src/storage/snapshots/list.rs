use uuid::Uuid;

use super::calendar::in_our_calendar;
use super::model::{SnapshotFilter, SnapshotMetadata};
use super::row::MetadataRow;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// A page of a list, unless another length is asked for.
const ROWS_PER_PAGE: u32 = 100;

impl Database {
    /// Snapshots that are not expired, the newest first; of every team that the role sees, where none is named.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn snapshots_list(
        &self,
        team_id: Option<Uuid>,
        filter: &SnapshotFilter,
    ) -> Result<Vec<SnapshotMetadata>, StorageError> {
        let mut tx = self.begin_for_team(Limits::PAGE, team_id, "list snapshots").await?;
        let after = filter.after;
        let statement = query_as(sql!("snapshots_list.sql", "snapshot_columns.sql"))
            .bind(team_id)
            .bind(filter.event_id)
            .bind(filter.snapshot_type.as_deref())
            .bind(after.map(|last| last.id))
            .bind(after.and_then(|last| last.created_at).and_then(in_our_calendar))
            .bind(i64::from(filter.limit.unwrap_or(ROWS_PER_PAGE)));
        let found: Vec<MetadataRow> = tx.fetch_all(statement).await?;
        tx.commit(found.into_iter().map(|MetadataRow(metadata)| metadata).collect()).await
    }
}
