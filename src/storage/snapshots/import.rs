use std::collections::HashSet;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{Statement, query_scalar, sql};

/// A row to insert as it is, with the id and the times it has.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Decides whether the row exists already.
    pub id: Uuid,
    /// `rooms`, `offer`, `products`, `qna` or another.
    pub snapshot_type: String,
    /// The event it belongs to, if any.
    pub event_id: Option<Uuid>,
    /// What the page was asked for; JSON as it was written, because a number's digits are to be kept.
    pub params: Box<RawValue>,
    /// What the page shows; the same.
    pub data: Box<RawValue>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it expires; `None` for its type's TTL.
    pub expires_at: Option<OffsetDateTime>,
}

impl Database {
    /// Inserts rows of a team in one transaction, but not those whose id exists already. Returns the ids inserted.
    ///
    /// # Errors
    /// If the database does not answer or refuses a row.
    pub async fn snapshots_insert(&self, team_id: Uuid, rows: &[NewRow]) -> Result<HashSet<Uuid>, StorageError> {
        let mut tx = self.begin_for_team(Limits::PAGE, Some(team_id), "insert snapshots").await?;
        let statement = query_scalar(sql!("snapshots_insert.sql"))
            .bind(team_id)
            .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.snapshot_type.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.event_id).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.params.get()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.data.get()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.created_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.expires_at).collect::<Vec<_>>());
        let inserted = tx.fetch_all(statement).await?;
        tx.commit(inserted.into_iter().collect()).await
    }

    /// Which of the ids are those of snapshots.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn snapshots_existing(&self, team_id: Uuid, ids: &[Uuid]) -> Result<HashSet<Uuid>, StorageError> {
        self.existing(team_id, query_scalar("SELECT id FROM public.snapshots WHERE id = ANY ($1)").bind(ids)).await
    }

    /// Which of the ids are those of the backend's events, as far as the team sees them.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn events_existing(&self, team_id: Uuid, ids: &[Uuid]) -> Result<HashSet<Uuid>, StorageError> {
        self.existing(team_id, query_scalar("SELECT id FROM public.events WHERE id = ANY ($1)").bind(ids)).await
    }

    /// Whether the backend has such a team.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn team_exists(&self, team_id: Uuid) -> Result<bool, StorageError> {
        let found = self.existing(team_id, query_scalar("SELECT id FROM public.teams WHERE id = $1").bind(team_id));
        Ok(!found.await?.is_empty())
    }

    async fn existing(&self, team_id: Uuid, statement: Statement<Uuid>) -> Result<HashSet<Uuid>, StorageError> {
        let mut tx = self.begin_for_team(Limits::PAGE, Some(team_id), "find what exists").await?;
        let existing = tx.fetch_all(statement).await?;
        tx.commit(existing.into_iter().collect()).await
    }
}
