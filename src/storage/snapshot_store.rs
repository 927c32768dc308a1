use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, Limits, StorageError, retention_policy};
use crate::config::ConfigError;
use crate::policy::Rule;

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

/// A snapshot to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSnapshot {
    /// `rooms`, `offer`, `products`, `qna` or another.
    pub snapshot_type: String,
    /// The event it belongs to, if any.
    pub event_id: Option<Uuid>,
    /// What the page was asked for; an empty object by default.
    pub params: Value,
    /// What the page shows.
    pub data: Value,
    /// When it expires; `None` for its type's TTL.
    pub expires_at: Option<OffsetDateTime>,
}

/// A snapshot without its data.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct SnapshotMetadata {
    /// Of the row.
    pub id: Uuid,
    /// Whose it is.
    pub team_id: Uuid,
    /// `rooms`, `offer`, `products`, `qna` or another.
    pub snapshot_type: String,
    /// The event it belongs to, if any.
    pub event_id: Option<Uuid>,
    /// What the page was asked for.
    pub params: Option<Value>,
    /// By the writer's clock or the column's default; older rows may have none.
    #[serde(with = "time::serde::rfc3339::option")]
    pub created_at: Option<OffsetDateTime>,
    /// By the database's clock it is not shown from then on.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Of the data as JSON text.
    pub bytes: i64,
}

/// A whole snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Snapshot {
    /// Everything but the data.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub metadata: SnapshotMetadata,
    /// What the page shows.
    pub data: Value,
}

/// Which snapshots to list.
#[derive(Debug, Clone, Default)]
pub struct SnapshotFilter {
    /// Of this event.
    pub event_id: Option<Uuid>,
    /// Of this type.
    pub snapshot_type: Option<String>,
    /// Behind this one, the last of an earlier page.
    pub after: Option<SnapshotMetadata>,
    /// How many at most; 100 if not set.
    pub limit: Option<u32>,
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

const PAGE: u32 = 100;
/// As SQL: the columns of [`SnapshotMetadata`]. Infinity has no place in our type for instants.
macro_rules! columns {
    () => {
        "id, team_id, snapshot_type, event_id, params, octet_length(data::text)::bigint AS bytes, \
         CASE WHEN isfinite(created_at) THEN created_at END AS created_at, LEAST(expires_at, '9999-12-31T23:59:59Z') AS expires_at"
    };
}

impl NewSnapshot {
    /// Of no event, with no parameters, expiring by its type's TTL.
    #[must_use]
    pub fn new(snapshot_type: impl Into<String>, data: Value) -> Self {
        Self {
            snapshot_type: snapshot_type.into(),
            event_id: None,
            params: Value::Object(serde_json::Map::new()),
            data,
            expires_at: None,
        }
    }

    /// The same of an event.
    #[must_use]
    pub const fn event(mut self, event_id: Uuid) -> Self {
        self.event_id = Some(event_id);
        self
    }
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
        let created = self.database.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(team_id, None).await?;
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
            .bind(new.expires_at)
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
            let mut tx = self.begin(team_id, None).await?;
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
            let mut tx = self.begin(team_id, None).await?;
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
        let deleted = self.database.within(Limits::LONG, WHAT, async {
            let mut tx = self.begin(team_id, Some(Rule::EventEnd)).await?;
            let policy = retention_policy::load(&mut tx).await?;
            let deleted = sqlx::query(
                "DELETE FROM public.snapshots \
                 WHERE event_id = $1 AND team_id = $2 AND created_at <= $3 AND (snapshot_type = ANY($4)) = $5",
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

    async fn begin(&self, team_id: Uuid, rule: Option<Rule>) -> Result<Transaction<'static, Postgres>, StorageError> {
        let mut tx = self.database.begin(Limits::SHORT, rule).await?;
        act_for(&mut tx, Some(team_id)).await?;
        Ok(tx)
    }
}

impl Database {
    /// Snapshots that are not expired, the newest first; of every team that the role sees, where none is named.
    pub async fn list_snapshots(
        &self,
        team_id: Option<Uuid>,
        filter: &SnapshotFilter,
    ) -> Result<Vec<SnapshotMetadata>, StorageError> {
        const WHAT: &str = "list snapshots";
        self.within(Limits::LOOK, WHAT, async {
            let mut tx = self.begin(Limits::LOOK, None).await?;
            act_for(&mut tx, team_id).await?;
            let after = filter.after.as_ref();
            let found = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM public.snapshots AS s WHERE s.expires_at > now() AND ($1::uuid IS NULL OR team_id = $1) \
                 AND ($2::uuid IS NULL OR event_id = $2) AND ($3::text IS NULL OR snapshot_type = $3) \
                 AND ($4::uuid IS NULL OR (COALESCE(s.created_at, '-infinity'), id) < (COALESCE($5::timestamptz, '-infinity'), $4)) \
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

    /// A snapshot with its data, whosever it is, expired or not.
    pub async fn find_snapshot(&self, id: Uuid) -> Result<Option<Snapshot>, StorageError> {
        const WHAT: &str = "read a snapshot";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
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
pub(super) async fn act_for(
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

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error.code().as_deref() {
            Some("23503") => Self::UnknownTeamOrEvent(error),
            Some("42501") => Self::NotPermitted(error),
            _ => Self::Storage(error),
        }
    }
}
