use std::collections::HashSet;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::list::act_for;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// A row to insert as it is, with the id and the times it has.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Decides whether it is there already.
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
    /// Inserts rows of a team in one transaction, but not those whose id is there already. Returns the ids inserted.
    pub async fn insert_snapshots(&self, team_id: Uuid, rows: &[NewRow]) -> Result<HashSet<Uuid>, StorageError> {
        const WHAT: &str = "insert snapshots";
        self.within(Limits::PAGE, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::PAGE, None).await?;
            act_for(&mut tx, Some(team_id)).await?;
            let inserted: Vec<Uuid> = sqlx::query_scalar(
                "INSERT INTO public.snapshots (id, team_id, snapshot_type, event_id, params, data, created_at, expires_at) \
                 SELECT id, $1, snapshot_type, event_id, params::jsonb, data::jsonb, created_at, expires_at \
                 FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[]) \
                     AS new (id, snapshot_type, event_id, params, data, created_at, expires_at) \
                 ON CONFLICT (id) DO NOTHING RETURNING id",
            )
            .persistent(false)
            .bind(team_id)
            .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.snapshot_type.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.event_id).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.params.get()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.data.get()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.created_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.expires_at).collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(inserted.into_iter().collect())
        })
        .await
    }

    /// Which of the ids are those of snapshots.
    pub async fn snapshots_there(&self, team_id: Uuid, ids: &[Uuid]) -> Result<HashSet<Uuid>, StorageError> {
        const WHAT: &str = "look for snapshots";
        self.within(Limits::PAGE, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::PAGE, None).await?;
            act_for(&mut tx, Some(team_id)).await?;
            let there: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM public.snapshots WHERE id = ANY($1)")
                .persistent(false)
                .bind(ids)
                .fetch_all(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(there.into_iter().collect())
        })
        .await
    }

    /// Which of the ids are those of the host's events, as far as the team sees them.
    pub async fn events_there(&self, team_id: Uuid, ids: &[Uuid]) -> Result<HashSet<Uuid>, StorageError> {
        const WHAT: &str = "look for events";
        self.within(Limits::PAGE, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::PAGE, None).await?;
            act_for(&mut tx, Some(team_id)).await?;
            let there: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM public.events WHERE id = ANY($1)")
                .persistent(false)
                .bind(ids)
                .fetch_all(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(there.into_iter().collect())
        })
        .await
    }

    /// Whether the host has such a team.
    pub async fn team_is_there(&self, team_id: Uuid) -> Result<bool, StorageError> {
        const WHAT: &str = "look for the team";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::SHORT, None).await?;
            act_for(&mut tx, Some(team_id)).await?;
            let there = sqlx::query_scalar("SELECT EXISTS (SELECT FROM public.teams WHERE id = $1)")
                .persistent(false)
                .bind(team_id)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(there)
        })
        .await
    }
}
