//! Status changes that the host's trigger records, until they are published.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::storage::database::Database;
use crate::storage::error::{StorageError, Verdict};
use crate::storage::schema::migrate::{MigrateError, TRIES_AGAINST_LOCKS};
use crate::storage::transaction::Limits;

/// A recorded status change.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OutboxRecord {
    /// Ascends in the order of commits within an event: its changes are serialised by the lock on the event's row.
    pub id: i64,
    /// For finding the message again; the same at each try.
    pub message_id: Uuid,
    /// Whose status changed.
    pub event_id: Uuid,
    /// Where the event has one.
    pub team_id: Option<Uuid>,
    /// Lowercase, one of the five.
    pub status: String,
    /// By the database's clock, the start of the transaction that made the change, less a microsecond: what the same
    /// transaction writes beside it counts as made after it.
    pub occurred_at: OffsetDateTime,
    /// Whether an earlier record of the event is among those that the look left out.
    pub is_behind: bool,
}

/// Our trigger on a table, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct OutboxTrigger {
    /// With its schema.
    pub table: String,
    /// Which columns are read, by the names they had when it was installed.
    #[sqlx(flatten)]
    pub columns: OutboxColumns,
    /// Whether a row that is inserted is recorded, and not only a change of status.
    pub on_insert: bool,
    /// Where its records are published; to the exchange of whichever fleet takes them, unless it is named.
    pub exchange: Option<String>,
    /// Whether it fires.
    pub enabled: bool,
    /// Whether it is to be installed anew.
    pub outdated: bool,
    /// Why.
    pub problem: Option<String>,
    #[serde(skip)]
    #[sqlx(flatten)]
    made: Made,
}

/// What it takes to make a trigger anew or to remove it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
struct Made {
    schema: Option<String>,
    name: Option<String>,
    /// Quoted.
    function: String,
    /// Whether its function has the text of an older version.
    is_older: bool,
    /// Whether it was installed so; the trigger itself may be gone.
    shall_on_insert: bool,
}

/// The columns of a table of events, by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct OutboxColumns {
    /// The event's id, a UUID.
    pub id: String,
    /// Text or an enumeration.
    pub status: String,
    /// A UUID.
    pub team: Option<String>,
}

impl OutboxTrigger {
    /// Whether it is on this table.
    #[must_use]
    pub fn is_on(&self, schema: &str, table: &str) -> bool {
        (self.made.schema.as_deref(), self.made.name.as_deref()) == (Some(schema), Some(table))
    }
}

impl std::fmt::Display for OutboxColumns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "id {}, status {}, team {}", self.id, self.status, self.team.as_deref().unwrap_or("-"))
    }
}

/// What waits to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct OutboxBacklog {
    /// Records.
    pub pending: i64,
    /// Seconds since the transaction of the oldest of them began.
    pub oldest_seconds: i64,
}

/// What the trigger shall watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSource {
    /// `public` unless given.
    pub schema: String,
    /// The host's table of events.
    pub table: String,
    /// What is read of each row.
    pub columns: OutboxColumns,
    /// Whether rows that are inserted are recorded too: also those of an import or a restore, each a new end of its event.
    pub on_insert: bool,
    /// Where its records are published; to the exchange of whichever fleet takes them, unless it is named.
    pub exchange: Option<String>,
}

/// Why the trigger was not installed.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The table or a column is not there or not fit.
    #[error("{0}")]
    Unfit(String),
    /// Anything else.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The channel on which the trigger notifies.
pub(in crate::storage) const CHANNEL: &str = "snapshot_lifecycle_outbox";

impl Database {
    /// The oldest records for an exchange, those up to an id left out.
    pub async fn outbox_records(
        &self,
        exchange: &str,
        after: i64,
        most: u32,
    ) -> Result<Vec<OutboxRecord>, StorageError> {
        const WHAT: &str = "read the outbox";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let records = sqlx::query_as(
                "SELECT id, message_id, event_id, team_id, status, occurred_at, EXISTS ( \
                     SELECT FROM snapshot_lifecycle.outbox AS e \
                     WHERE e.event_id = o.event_id AND e.id <= $1 AND (e.exchange IS NULL OR e.exchange = $2)) AS is_behind \
                 FROM snapshot_lifecycle.outbox AS o \
                 WHERE id > $1 AND (exchange IS NULL OR exchange = $2) ORDER BY id LIMIT $3",
            )
            .persistent(false)
            .bind(after)
            .bind(exchange)
            .bind(i64::from(most))
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(records)
        })
        .await
    }

    /// Removes what is published.
    pub async fn remove_from_outbox(&self, ids: &[i64]) -> Result<(), StorageError> {
        const WHAT: &str = "remove what is published from the outbox";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            sqlx::query("DELETE FROM snapshot_lifecycle.outbox WHERE id = ANY($1)")
                .persistent(false)
                .bind(ids)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await
        })
        .await
    }

    /// How much waits, and for how long.
    pub async fn outbox_backlog(&self) -> Result<OutboxBacklog, StorageError> {
        const WHAT: &str = "measure the outbox";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let (pending, oldest_seconds) = sqlx::query_as(
                "SELECT count(*), GREATEST(0, extract(epoch FROM clock_timestamp() - COALESCE(min(occurred_at), clock_timestamp())))::bigint \
                 FROM snapshot_lifecycle.outbox",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(OutboxBacklog { pending, oldest_seconds })
        })
        .await
    }

    /// The tables that our trigger is on, or was.
    pub async fn outbox_triggers(&self) -> Result<Vec<OutboxTrigger>, StorageError> {
        const WHAT: &str = "look for the outbox's trigger";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let triggers = sqlx::query_as(TRIGGERS)
                .persistent(false)
                .bind(VERSION)
                .fetch_all(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(triggers)
        })
        .await
    }

    /// Makes the trigger, or makes it anew with other columns; all or nothing.
    ///
    /// Its function runs as its owner, because the backend's roles have no rights in our schema. It never fails the backend's
    /// statement for a status that it does not know: such a change is not recorded.
    pub async fn install_outbox(&self, source: &OutboxSource) -> Result<(), OutboxError> {
        const WHAT: &str = "install the outbox's trigger";
        let problem = self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let (problem, statements): (Option<String>, Option<String>) = sqlx::query_as(INSTALL)
                .persistent(false)
                .bind(&source.schema)
                .bind(&source.table)
                .bind(&source.columns.id)
                .bind(&source.columns.status)
                .bind(source.columns.team.as_deref())
                .bind(source.on_insert)
                .bind(source.exchange.as_deref())
                .bind(VERSION)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            if let (None, Some(statements)) = (&problem, statements) {
                // The server has quoted every name in it.
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await.map_err(StorageError::during(WHAT))?;
                Self::commit(tx).await?;
            }
            Ok(problem)
        });
        match problem.await? {
            None => Ok(()),
            Some(problem) => Err(OutboxError::Unfit(problem)),
        }
    }

    /// Installs anew what an older version installed. One whose columns have other names by now stays as it is, and is told of.
    pub(in crate::storage) async fn renew_outbox(&self) -> Result<(), MigrateError> {
        for trigger in self.outbox_triggers().await? {
            let OutboxTrigger { table, columns, exchange, made, .. } = trigger;
            let Made { schema: Some(schema), name: Some(name), is_older: true, shall_on_insert: on_insert, .. } = made
            else {
                continue;
            };
            let source = OutboxSource { schema, table: name, columns, on_insert, exchange };
            let mut tries = 1;
            while let Err(error) = self.install_outbox(&source).await {
                match error {
                    OutboxError::Unfit(problem) => {
                        let says = "the outbox's trigger is of an older version; run `outbox install` anew";
                        tracing::warn!(table, problem, "{says}");
                        break;
                    }
                    OutboxError::Storage(error)
                        if error.verdict() != Verdict::Refused && tries < TRIES_AGAINST_LOCKS =>
                    {
                        tracing::warn!(table, error = error.one_line(), "the outbox's trigger has to wait for a lock");
                        tries += 1;
                    }
                    OutboxError::Storage(source) => return Err(MigrateError::Outbox { table, source }),
                }
            }
        }
        Ok(())
    }

    /// Removes these triggers and their functions. What is recorded stays and is still published.
    pub async fn uninstall_outbox(&self, triggers: &[OutboxTrigger]) -> Result<(), StorageError> {
        const WHAT: &str = "uninstall the outbox's trigger";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            for OutboxTrigger { made: Made { function, .. }, .. } in triggers {
                // The server has quoted the name. Its triggers go with it; to drop those by themselves one must own the table.
                let drop = format!("DROP FUNCTION IF EXISTS {function} CASCADE");
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *tx).await.map_err(StorageError::during(WHAT))?;
            }
            Self::commit(tx).await
        })
        .await
    }
}

const INSTALL: &str = include_str!("install.sql");
const TRIGGERS: &str = include_str!("triggers.sql");
/// Of the function's text: `migrate` makes those of an older one anew.
const VERSION: i32 = 2;
