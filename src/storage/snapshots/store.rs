use std::time::Duration;

use secrecy::SecretString;
use time::OffsetDateTime;
use uuid::Uuid;

use super::calendar::in_our_calendar;
use super::model::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata};
use super::row::{MetadataRow, SnapshotRow};
use super::store_error::StoreError;
use crate::policy::Rule;
use crate::setting::ConfigError;
use crate::storage::connection::pool::PoolSettings;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::retention::kept_types;
use crate::storage::statement::{query, query_as, sql};

/// The storage of snapshots for several writers at once: each call is one transaction within one team, under row-level
/// security, with `app.current_team_id` set for that transaction only. So it works through a pooler in transaction mode,
/// and another team's snapshot is never seen, whatever id is asked for.
///
/// ```no_run
/// use serde_json::json;
/// use snapshot_lifecycle::{NewSnapshot, SnapshotFilter, SnapshotStore};
/// use uuid::Uuid;
///
/// # async fn offer(team: Uuid, event: Uuid) -> Result<(), Box<dyn std::error::Error>> {
/// let store = SnapshotStore::connect("postgres://backend@localhost/venues")?;
/// let offer = NewSnapshot::new("offer", json!({ "total": 1200 })).with_event_id(event);
/// let id = store.create(team, &offer).await?.id;
/// assert!(store.get(team, id).await?.is_some());
/// for snapshot in store.list(team, &SnapshotFilter::default().with_event_id(event)).await? {
///     store.delete(team, snapshot.id).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// The role needs SELECT, INSERT and DELETE on `public.snapshots`, and for
/// [`delete_snapshots_for_event`](Self::delete_snapshots_for_event) USAGE on the schema `snapshot_lifecycle` and SELECT on its
/// table `retention`.
///
/// # What the URL leaves out
///
/// Comes from PostgreSQL's own variables, as sqlx reads them; a part of the URL wins. They are `PGHOSTADDR`, else `PGHOST`; `PGPORT`,
/// `PGUSER`, `PGDATABASE`, `PGAPPNAME`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`; and for the password `PGPASSWORD`, else the
/// file that `PGPASSFILE` names, else `~/.pgpass`. `options=` is added to `PGOPTIONS`. A `PGSSLMODE` that does not exist is ignored, so
/// `sslmode=` belongs into the URL.
///
/// # Runtime
///
/// Calls, [`close`](Self::close) included, are made within a tokio runtime, and panic outside of one. [`connect`](Self::connect) and the
/// `with_…` methods need none.
///
/// # Sharing, cost
///
/// `Send` and `Sync`; clones share the connections, at most eight unless [`with_max_connections`](Self::with_max_connections) says
/// otherwise. A call waits for six round trips: a check of the connection, BEGIN, the settings of the transaction, two for its statement,
/// COMMIT. `delete_snapshots_for_event` has one statement more, so eight. A call holds a connection for about as long.
///
/// # Timeouts
///
/// A call fails when no connection is free for five seconds, when it waits two seconds for a lock, or when its statement takes more than
/// five: 15 in [`list`](Self::list), five minutes in `delete_snapshots_for_event`. The server ends the statement itself. A server that
/// does not answer is given three seconds more. [`with_acquire_timeout`](Self::with_acquire_timeout) and
/// [`with_statement_timeout`](Self::with_statement_timeout) set them.
///
/// # Cancelling, dropping
///
/// A call may be dropped at any time, as by a timeout or a client that has gone: its transaction is rolled back, or is committed if the
/// COMMIT was under way. No other call notices. Dropping the last clone closes the connections in the background;
/// [`close`](Self::close) waits for that.
///
/// # TLS
///
/// `sslmode=verify-full` in the URL is the mode to use outside of one machine; certificates are checked by rustls with ring, against the
/// system's authorities or `sslrootcert=`.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    database: Database,
}

/// As PostgreSQL lists the connections, apart from the worker's.
const APPLICATION_NAME: &str = "snapshot-lifecycle library";
const MAX_CONNECTIONS: u32 = 8;
/// PostgreSQL takes 0 for no timeout.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// PostgreSQL counts milliseconds in 31 bits.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24 * 20);

impl SnapshotStore {
    /// Reads the URL; connects at the first call. PostgreSQL lists the connections as `snapshot-lifecycle library`, unless the URL has
    /// an `application_name=`.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn connect(database_url: &str) -> Result<Self, ConfigError> {
        let url = SecretString::from(database_url.to_owned());
        Ok(Self { database: Database::named(Some(&url), MAX_CONNECTIONS, APPLICATION_NAME)? })
    }

    /// On the program's own pool, by sqlx 0.9. Its size, timeout and name are its own, and [`close`](Self::close) leaves it open.
    ///
    /// Nothing in the pool has to be set: each transaction sets what it needs, for itself only.
    #[must_use]
    pub fn with_pool(pool: sqlx::PgPool) -> Self {
        Self { database: Database::with_pool(pool) }
    }

    /// Sets how many connections are opened at most. Default: 8.
    ///
    /// This and the next two make a store with connections of its own; a store by [`with_pool`](Self::with_pool) stays on its pool.
    #[must_use]
    pub fn with_max_connections(self, connections: u32) -> Self {
        self.with_settings(|settings| PoolSettings { connections: connections.max(1), ..settings })
    }

    /// Sets how long a call waits for a free connection, a new one included. Default: 5 s.
    #[must_use]
    pub fn with_acquire_timeout(self, acquire: Duration) -> Self {
        self.with_settings(|settings| PoolSettings { acquire, ..settings })
    }

    /// Sets the name under which PostgreSQL lists the connections.
    #[must_use]
    pub fn with_application_name(self, name: &str) -> Self {
        self.with_settings(|settings| PoolSettings { options: settings.options.application_name(name), ..settings })
    }

    /// Sets how long the statement of a call may take, a wait for a lock included. Enforced by the server; at least one millisecond.
    #[must_use]
    pub fn with_statement_timeout(self, timeout: Duration) -> Self {
        Self { database: self.database.with_statement_timeout(timeout.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT)) }
    }

    fn with_settings(self, change: impl FnOnce(PoolSettings) -> PoolSettings) -> Self {
        Self { database: self.database.with_settings(change) }
    }

    /// Creates a snapshot. Without `expires_at` it gets its type's TTL, by the trigger that `migrate` makes.
    ///
    /// # Errors
    /// If the team or the event does not exist, the role may not insert, a value is one that the database cannot hold, or the database
    /// does not answer or refuses.
    pub async fn create(&self, team_id: Uuid, new: &NewSnapshot) -> Result<SnapshotMetadata, StoreError> {
        const WHAT: &str = "create a snapshot";
        let expires_at = new.expires_at.map(|at| readable(WHAT, "expires_at", at)).transpose()?;
        let mut tx = self.database.begin_for_team(Limits::SHORT, Some(team_id), WHAT).await?;
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
        let mut tx = self.database.begin_for_team(Limits::SHORT, Some(team_id), "read a snapshot").await?;
        let statement = query_as(sql!("store_get.sql", "snapshot_columns.sql")).bind(id).bind(team_id);
        let found: Option<SnapshotRow> = tx.fetch_optional(statement).await?;
        Ok(tx.commit(found.map(|SnapshotRow(snapshot)| snapshot)).await?)
    }

    /// The team's snapshots that are not expired, without their data, the newest first; at most 100, unless the filter has a limit.
    ///
    /// Page by page, which shows each snapshot once, whatever others insert and delete meanwhile:
    ///
    /// ```no_run
    /// # use snapshot_lifecycle::{Cursor, SnapshotFilter, SnapshotMetadata, SnapshotStore, StoreError};
    /// # use uuid::Uuid;
    /// # async fn all(store: &SnapshotStore, team: Uuid) -> Result<Vec<SnapshotMetadata>, StoreError> {
    /// let (mut all, mut filter) = (Vec::new(), SnapshotFilter::default().with_limit(50));
    /// loop {
    ///     let page = store.list(team, &filter).await?;
    ///     let Some(last) = page.last().map(Cursor::from) else { return Ok(all) };
    ///     filter.after = Some(last); // as text, `last.to_string()`, it is the `?after=` of an HTTP API
    ///     all.extend(page);
    /// }
    /// # }
    /// ```
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
        let mut tx = self.database.begin_for_team(Limits::SHORT, Some(team_id), "delete a snapshot").await?;
        let statement = query("DELETE FROM public.snapshots WHERE id = $1 AND team_id = $2").bind(id).bind(team_id);
        let deleted = tx.execute(statement).await?;
        Ok(tx.commit(deleted == 1).await?)
    }

    /// Deletes the team's snapshots of an event that has ended, by the same rule as a status message: created at or before
    /// `occurred_at`, but not after now, and of a type that does not outlive its event. Returns how many.
    ///
    /// All in one statement: where that fails, as at a timeout or a row that something else of the database refuses to lose, none is
    /// deleted. The worker would go on in steps.
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
        let mut tx = self.database.begin_delete_for_team(Limits::LONG, Rule::EventEnd, Some(team_id), WHAT).await?;
        let policy = kept_types::load(&mut tx).await?;
        let statement = query(sql!("store_delete_for_event.sql", "../rules/event_end_rule.sql"))
            .bind(event_id)
            .bind(team_id)
            .bind(occurred_at)
            .bind(policy.exceptions())
            .bind(policy.keeps_by_default());
        let deleted = tx.execute(statement).await?;
        Ok(tx.commit(deleted).await?)
    }

    /// Closes the connections, waiting at most a second for those in use; two at most in all. No call succeeds after it, on any clone.
    /// The program's own pool stays open, and so do the calls on it.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn readable(what: &'static str, name: &'static str, at: OffsetDateTime) -> Result<OffsetDateTime, StorageError> {
    in_our_calendar(at).ok_or_else(|| StorageError::out_of_range(what, name))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    #[should_panic(expected = "runtime")]
    fn call_outside_of_a_runtime_panics() {
        let store = SnapshotStore::connect("postgres://u@localhost/db").unwrap().with_max_connections(1);
        drop(store.get(Uuid::nil(), Uuid::nil()).now_or_never());
    }
}
