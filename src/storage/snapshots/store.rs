use secrecy::SecretString;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::list::act_for;
use super::model::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, columns, in_our_calendar};
use crate::config::ConfigError;
use crate::policy::Rule;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::retention::policy;
use crate::storage::transaction::Limits;

/// The storage of snapshots for several writers at once: each call is one transaction within one team, under row-level
/// security, with `app.current_team_id` set for that transaction only. So it works through a pooler in transaction mode,
/// and another team's snapshot is never seen, whatever id is asked for.
///
/// May be shared between tasks; clones share the connections.
///
/// ```no_run
/// use serde_json::json;
/// use snapshot_lifecycle::{NewSnapshot, SnapshotFilter, SnapshotStore};
/// use uuid::Uuid;
///
/// # async fn offer(team: Uuid, event: Uuid) -> Result<(), Box<dyn std::error::Error>> {
/// let store = SnapshotStore::connect("postgres://backend@localhost/venues")?;
/// let offer = NewSnapshot::new("offer", json!({ "total": 1200 })).event(event);
/// let id = store.create(team, &offer).await?.id;
/// assert!(store.get(team, id).await?.is_some());
/// for snapshot in store.list(team, &SnapshotFilter { event_id: Some(event), ..SnapshotFilter::default() }).await? {
///     store.delete(team, snapshot.id).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// The role needs SELECT, INSERT and DELETE on `public.snapshots`, and for
/// [`delete_snapshots_for_event`](Self::delete_snapshots_for_event) USAGE on the schema `snapshot_lifecycle` and SELECT on its
/// table `retention`.
#[derive(Clone)]
pub struct SnapshotStore {
    database: Database,
}

/// Why a call of [`SnapshotStore`] failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The host's tables have no such row; by the foreign keys of `public.snapshots`.
    #[error("the team or the event does not exist")]
    UnknownTeamOrEvent(#[source] StorageError),
    /// Privileges or row-level security.
    #[error("the database role may not do this")]
    NotPermitted(#[source] StorageError),
    /// Anything else; [`StorageError::is_transient`] tells whether to try again.
    #[error(transparent)]
    Storage(StorageError),
}

impl SnapshotStore {
    /// Reads the URL; connects at the first call.
    pub fn connect(database_url: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(Database::new(Some(&SecretString::from(database_url.to_owned())), 8)?))
    }

    /// On connections that are there.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Creates a snapshot. Without `expires_at` it gets its type's TTL, by the trigger that `migrate` makes.
    pub async fn create(&self, team_id: Uuid, new: &NewSnapshot) -> Result<SnapshotMetadata, StoreError> {
        const WHAT: &str = "create a snapshot";
        let expires_at = new.expires_at.map(|at| readable(WHAT, "expires_at", at)).transpose()?;
        let created = self.database.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, team_id, None).await?;
            let created = sqlx::query_as(concat!(
                "INSERT INTO public.snapshots (team_id, snapshot_type, event_id, params, data, expires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) RETURNING ",
                columns!()
            ))
            .persistent(false)
            .bind(team_id)
            .bind(&new.snapshot_type)
            .bind(new.event_id)
            .bind(&new.params)
            .bind(&new.data)
            .bind(expires_at)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Database::commit(tx).await?;
            Ok(created)
        });
        Ok(created.await?)
    }

    /// A snapshot of the team; `None` where it is another's, expired or not there.
    pub async fn get(&self, team_id: Uuid, id: Uuid) -> Result<Option<Snapshot>, StoreError> {
        const WHAT: &str = "read a snapshot";
        let found = self.database.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, team_id, None).await?;
            let found = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                ", data FROM public.snapshots AS s WHERE id = $1 AND team_id = $2 AND s.expires_at > now()"
            ))
            .persistent(false)
            .bind(id)
            .bind(team_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Database::commit(tx).await?;
            Ok(found)
        });
        Ok(found.await?)
    }

    /// The team's snapshots that are not expired, without their data, the newest first.
    pub async fn list(&self, team_id: Uuid, filter: &SnapshotFilter) -> Result<Vec<SnapshotMetadata>, StoreError> {
        Ok(self.database.list_snapshots(Some(team_id), filter).await?)
    }

    /// Deletes a snapshot of the team; `false` where it is another's or not there.
    pub async fn delete(&self, team_id: Uuid, id: Uuid) -> Result<bool, StoreError> {
        const WHAT: &str = "delete a snapshot";
        let deleted = self.database.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, team_id, None).await?;
            let deleted = sqlx::query("DELETE FROM public.snapshots WHERE id = $1 AND team_id = $2")
                .persistent(false)
                .bind(id)
                .bind(team_id)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Database::commit(tx).await?;
            Ok(deleted.rows_affected() == 1)
        });
        Ok(deleted.await?)
    }

    /// Deletes the team's snapshots of an event that has ended, by the same rule as a status message: created at or before
    /// `occurred_at`, and of a type that does not outlive its event. Returns how many.
    pub async fn delete_snapshots_for_event(
        &self,
        team_id: Uuid,
        event_id: Uuid,
        occurred_at: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        const WHAT: &str = "delete the event's snapshots";
        let occurred_at = readable(WHAT, "occurred_at", occurred_at)?;
        let deleted = self.database.within(Limits::LONG, WHAT, async {
            let mut tx = self.begin(Limits::LONG, team_id, Some(Rule::EventEnd)).await?;
            let policy = policy::load(&mut tx).await?;
            let deleted = sqlx::query(
                "DELETE FROM public.snapshots \
                 WHERE event_id = $1 AND team_id = $2 AND created_at <= $3 AND (snapshot_type::text = ANY($4)) = $5",
            )
            .persistent(false)
            .bind(event_id)
            .bind(team_id)
            .bind(occurred_at)
            .bind(policy.exceptions())
            .bind(policy.keeps_by_default())
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Database::commit(tx).await?;
            Ok(deleted.rows_affected())
        });
        Ok(deleted.await?)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn begin(
        &self,
        limits: Limits,
        team_id: Uuid,
        rule: Option<Rule>,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        let mut tx = self.database.begin_with_triggers_within(limits, rule).await?;
        act_for(&mut tx, Some(team_id)).await?;
        Ok(tx)
    }
}

fn readable(what: &'static str, name: &'static str, at: OffsetDateTime) -> Result<OffsetDateTime, StorageError> {
    in_our_calendar(at).ok_or_else(|| StorageError::out_of_range(what, name))
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error.code().as_deref() {
            Some("23503") => Self::UnknownTeamOrEvent(error),
            Some("42501") => Self::NotPermitted(error),
            _ => Self::Storage(error),
        }
    }
}
