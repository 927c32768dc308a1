use secrecy::SecretString;
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, in_our_calendar};
use super::row::{MetadataRow, SnapshotRow};
use super::team::act_for;
use crate::policy::Rule;
use crate::setting::ConfigError;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::retention::policy;
use crate::storage::statement::{query, query_as, sql};

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
    /// The backend's tables have no such row; by the foreign keys of `public.snapshots`.
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
    /// Reads the URL; connects at the first call. Opens at most eight connections.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn connect(database_url: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(Database::new(Some(&SecretString::from(database_url.to_owned())), 8)?))
    }

    /// On connections that exist.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Creates a snapshot. Without `expires_at` it gets its type's TTL, by the trigger that `migrate` makes.
    ///
    /// # Errors
    /// If the team or the event does not exist, the role may not insert, `expires_at` is outside of the years 1 to 9999, or the database
    /// does not answer or refuses.
    pub async fn create(&self, team_id: Uuid, new: &NewSnapshot) -> Result<SnapshotMetadata, StoreError> {
        const WHAT: &str = "create a snapshot";
        let expires_at = new.expires_at.map(|at| readable(WHAT, "expires_at", at)).transpose()?;
        let mut tx = self.database.begin_with_triggers(Limits::SHORT, WHAT).await?;
        act_for(&mut tx, team_id).await?;
        let statement = query_as(sql!("store_create.sql", "snapshot_columns.sql"))
            .bind(team_id)
            .bind(&new.snapshot_type)
            .bind(new.event_id)
            .bind(&new.params)
            .bind(&new.data)
            .bind(expires_at);
        let MetadataRow(created) = tx.fetch_one(statement).await?;
        Ok(tx.commit(created).await?)
    }

    /// A snapshot of the team; `None` where it is another's, expired or does not exist.
    ///
    /// # Errors
    /// If the role may not read, or the database does not answer or refuses.
    pub async fn get(&self, team_id: Uuid, id: Uuid) -> Result<Option<Snapshot>, StoreError> {
        let mut tx = self.database.begin_with_triggers(Limits::SHORT, "read a snapshot").await?;
        act_for(&mut tx, team_id).await?;
        let statement = query_as(sql!("store_get.sql", "snapshot_columns.sql")).bind(id).bind(team_id);
        let found: Option<SnapshotRow> = tx.fetch_optional(statement).await?;
        Ok(tx.commit(found.map(|SnapshotRow(snapshot)| snapshot)).await?)
    }

    /// The team's snapshots that are not expired, without their data, the newest first.
    ///
    /// # Errors
    /// If the role may not read, or the database does not answer or refuses.
    pub async fn list(&self, team_id: Uuid, filter: &SnapshotFilter) -> Result<Vec<SnapshotMetadata>, StoreError> {
        Ok(self.database.snapshots_list(Some(team_id), filter).await?)
    }

    /// Deletes a snapshot of the team; `false` where it is another's or does not exist.
    ///
    /// # Errors
    /// If the role may not delete, or the database does not answer or refuses.
    pub async fn delete(&self, team_id: Uuid, id: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.database.begin_with_triggers(Limits::SHORT, "delete a snapshot").await?;
        act_for(&mut tx, team_id).await?;
        let statement = query("DELETE FROM public.snapshots WHERE id = $1 AND team_id = $2").bind(id).bind(team_id);
        let deleted = tx.execute(statement).await?;
        Ok(tx.commit(deleted == 1).await?)
    }

    /// Deletes the team's snapshots of an event that has ended, by the same rule as a status message: created at or before
    /// `occurred_at`, and of a type that does not outlive its event. Returns how many.
    ///
    /// # Errors
    /// If the role may not delete, `occurred_at` is outside of the years 1 to 9999, or the database does not answer or refuses.
    pub async fn delete_snapshots_for_event(
        &self,
        team_id: Uuid,
        event_id: Uuid,
        occurred_at: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        const WHAT: &str = "delete the event's snapshots";
        let occurred_at = readable(WHAT, "occurred_at", occurred_at)?;
        let mut tx = self.database.begin_delete(Limits::LONG, Rule::EventEnd, WHAT).await?;
        act_for(&mut tx, team_id).await?;
        let policy = policy::load(&mut tx).await?;
        let statement = query(sql!("store_delete_for_event.sql"))
            .bind(event_id)
            .bind(team_id)
            .bind(occurred_at)
            .bind(policy.exceptions())
            .bind(policy.keeps_by_default());
        let deleted = tx.execute(statement).await?;
        Ok(tx.commit(deleted).await?)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
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
