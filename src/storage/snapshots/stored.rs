use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::model::SnapshotMetadata;
use super::row::MetadataRow;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// A whole snapshot with its data as the database writes it: every digit of every number.
#[derive(Debug, Clone, Serialize)]
pub struct StoredSnapshot {
    /// Everything but the data.
    #[serde(flatten)]
    pub metadata: SnapshotMetadata,
    /// What the page shows.
    pub data: Box<RawValue>,
}

impl FromRow<'_, PgRow> for StoredSnapshot {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let MetadataRow(metadata) = MetadataRow::from_row(row)?;
        let Json(data) = row.try_get("data")?;
        Ok(Self { metadata, data })
    }
}

impl Database {
    /// A snapshot with its data as the database writes it, whosever it is, expired or not.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn snapshots_find(&self, id: Uuid) -> Result<Option<StoredSnapshot>, StorageError> {
        let mut tx = self.begin_with_triggers(Limits::SHORT, "read a snapshot").await?;
        let found = tx.fetch_optional(query_as(sql!("snapshots_find.sql", "snapshot_columns.sql")).bind(id)).await?;
        tx.commit(found).await
    }
}
