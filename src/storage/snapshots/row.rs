use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

use super::model::{Snapshot, SnapshotMetadata};

/// A row with the columns of `snapshot_columns.sql`. Apart from the public type, which is to say nothing of the driver.
pub(super) struct MetadataRow(pub(super) SnapshotMetadata);

/// The same with `data`.
pub(super) struct SnapshotRow(pub(super) Snapshot);

impl FromRow<'_, PgRow> for MetadataRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self(SnapshotMetadata {
            id: row.try_get("id")?,
            team_id: row.try_get("team_id")?,
            snapshot_type: row.try_get("snapshot_type")?,
            event_id: row.try_get("event_id")?,
            params: row.try_get("params")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            bytes: row.try_get("bytes")?,
        }))
    }
}

impl FromRow<'_, PgRow> for SnapshotRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let MetadataRow(metadata) = MetadataRow::from_row(row)?;
        Ok(Self(Snapshot { metadata, data: row.try_get("data")? }))
    }
}
