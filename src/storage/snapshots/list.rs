use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::model::{SnapshotFilter, SnapshotMetadata, StoredSnapshot, columns};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// A page of a list, unless another length is asked for.
const PAGE: u32 = 100;

impl Database {
    /// Snapshots that are not expired, the newest first; of every team that the role sees, where none is named.
    pub async fn list_snapshots(
        &self,
        team_id: Option<Uuid>,
        filter: &SnapshotFilter,
    ) -> Result<Vec<SnapshotMetadata>, StorageError> {
        const WHAT: &str = "list snapshots";
        self.within(Limits::PAGE, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::PAGE, None).await?;
            act_for(&mut tx, team_id).await?;
            // Where the last one of the page before is still there, its place is looked up: what was shown of it may be less exact.
            let after = filter.after.as_ref();
            let found = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM public.snapshots AS s WHERE s.expires_at > now() AND ($1::uuid IS NULL OR team_id = $1) \
                 AND ($2::uuid IS NULL OR event_id = $2) AND ($3::text IS NULL OR snapshot_type::text = $3) \
                 AND ($4::uuid IS NULL OR (COALESCE(s.created_at, '-infinity'), id) < (COALESCE( \
                     (SELECT COALESCE(last.created_at, '-infinity') FROM public.snapshots AS last WHERE last.id = $4), \
                     $5::timestamptz, '-infinity'), $4)) \
                 ORDER BY COALESCE(s.created_at, '-infinity') DESC, id DESC LIMIT $6"
            ))
            .persistent(false)
            .bind(team_id)
            .bind(filter.event_id)
            .bind(filter.snapshot_type.as_deref())
            .bind(after.map(|last| last.id))
            .bind(after.and_then(|last| last.created_at))
            .bind(i64::from(filter.limit.unwrap_or(PAGE)))
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(found)
        })
        .await
    }

    /// A snapshot with its data as the database writes it, whosever it is, expired or not.
    pub async fn find_snapshot(&self, id: Uuid) -> Result<Option<StoredSnapshot>, StorageError> {
        const WHAT: &str = "read a snapshot";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::SHORT, None).await?;
            let found = sqlx::query_as(concat!("SELECT ", columns!(), ", data FROM public.snapshots WHERE id = $1"))
                .persistent(false)
                .bind(id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(found)
        })
        .await
    }
}

/// Names the team to the host's row-level security policy, until the transaction ends.
pub(in crate::storage) async fn act_for(
    tx: &mut Transaction<'static, Postgres>,
    team_id: Option<Uuid>,
) -> Result<(), StorageError> {
    let Some(team_id) = team_id else { return Ok(()) };
    sqlx::query("SELECT set_config('app.current_team_id', $1, true)")
        .persistent(false)
        .bind(team_id.to_string())
        .execute(&mut **tx)
        .await
        .map_err(StorageError::during("name the team"))?;
    Ok(())
}
