//! Applies `migrations/`.
//!
//! Not sqlx's own runner: that one holds a session's advisory lock and uses named statements, neither of which survives a
//! pooler in transaction mode, and its waiters deadlock with `CREATE INDEX CONCURRENTLY`. Here a lease row decides who
//! migrates, others ask for it again until it is free, and everything is a transaction or a single statement. The
//! files, their order, their checksums and the `-- no-transaction` mark are sqlx's.

use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::table_shape::{self, Misshape};
use crate::storage::connection::connect::{self, ConnectFailure};
use crate::storage::database::Database;
use crate::storage::error::{StorageError, Verdict};
use crate::storage::passes::lease::{HeldLease, LeaseAttempt, LeaseName};
use crate::storage::transaction::Limits;

pub(in crate::storage) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What must be there before the lease that guards the rest: the same for every replica, so under a lock of its own that ends
/// with the transaction.
const BOOTSTRAP: &str = "
    CREATE SCHEMA IF NOT EXISTS snapshot_lifecycle;
    CREATE TABLE IF NOT EXISTS snapshot_lifecycle.migrations (
        version BIGINT PRIMARY KEY,
        description TEXT NOT NULL,
        checksum BYTEA NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    CREATE TABLE IF NOT EXISTS snapshot_lifecycle.lease (
        name TEXT PRIMARY KEY,
        holder UUID NOT NULL,
        expires_at TIMESTAMPTZ NOT NULL,
        completed_at TIMESTAMPTZ
    );
";
/// Any number that is ours.
const BOOTSTRAP_LOCK: i64 = 0x0073_6e61_7073_686f;
/// Often enough for the lease to outlive an index that takes minutes.
const RENEW_EVERY: Duration = Duration::from_secs(5);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// A busy table may refuse the short lock that DDL asks for; it is asked this often, a lock time-out apart.
pub(in crate::storage) const TRIES_AGAINST_LOCKS: u32 = 10;
/// Tables, functions, triggers, schemas, columns, and rows under a key.
const ALREADY_THERE: [&str; 6] = ["42P07", "42723", "42710", "42P06", "42701", "23505"];

/// One migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// The number in front of the file's name.
    pub version: i64,
    /// The rest of the file's name.
    pub description: String,
}

/// Why the database could not be migrated; each says the mend.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The host's tables are not there.
    #[error(
        "the host's tables are missing: expected public.teams and public.events, each with a primary key id of type uuid, \
         which public.snapshots refers to; create them first, or point DATABASE_URL at the backend's database"
    )]
    HostTablesMissing,
    /// There is a `public.snapshots` of another shape.
    #[error(
        "public.snapshots exists but is not the table that this program can work on: {says}; nothing was changed; {fix}"
    )]
    OtherSnapshots {
        /// What is so.
        says: String,
        /// What to do about it.
        fix: String,
    },
    /// A file was changed after it was applied.
    #[error(
        "migration {0} was applied from a file with other contents; this program and the database do not belong together"
    )]
    ChecksumMismatch(i64),
    /// A file failed.
    #[error(
        "could not apply migration {version} ({description}); what came before it stays applied, and the same command goes on from there"
    )]
    Apply {
        /// Its number.
        version: i64,
        /// Its name.
        description: String,
        #[source]
        /// What the database said.
        source: StorageError,
    },
    /// A trigger of an older version could not be made anew.
    #[error(
        "could not make the outbox's trigger on {table} anew; all migrations are applied, and the same command tries it again, as the role that owns the trigger's function"
    )]
    Outbox {
        /// With its schema.
        table: String,
        #[source]
        /// What the database said.
        source: StorageError,
    },
    /// The role's own time-out ended the building of an index.
    #[error(
        "the index of migration {version} ({description}) takes longer than the role's statement_timeout allows, and the pooler does not let \
         this program change it; as the owner: ALTER ROLE CURRENT_USER SET statement_timeout = 0; then the same command again goes on from there"
    )]
    IndexTakesTooLong {
        /// Its number.
        version: i64,
        /// Its name.
        description: String,
        #[source]
        /// What the database said.
        source: StorageError,
    },
    /// The record of a file is lost, and part of what it made is gone.
    #[error(
        "migration {version} ({description}) is not recorded as applied, but part of what it makes is there, without {missing}; \
         restore snapshot_lifecycle from a backup, or drop what is left of the migration and run the same command again"
    )]
    HalfThere {
        /// Its number.
        version: i64,
        /// Its name.
        description: String,
        /// What is not there.
        missing: String,
    },
    /// This process stood still for so long that another took over.
    #[error("another process has taken over the migration; run the same command again")]
    LeaseLost,
    /// Another statement failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Database {
    /// Applies what is missing and returns it; nothing where all is applied.
    ///
    /// Safe beside other replicas that do the same: one works, the others wait for it and find nothing left to do. A
    /// holder that died is waited for until its lease ends.
    pub async fn migrate(&self) -> Result<Vec<Migrated>, MigrateError> {
        self.preflight().await?;
        self.bootstrap().await?;
        let holder = Uuid::new_v4();
        let mut said = false;
        let lease = loop {
            if let LeaseAttempt::Held(lease) = self.lease_acquire(LeaseName::Migrate, holder, None).await? {
                break lease;
            }
            if !said {
                tracing::info!("another process is migrating; waiting for it");
                said = true;
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        };
        let applied = tokio::select! {
            applied = Box::pin(self.apply_missing()) => applied,
            () = Box::pin(self.keep_renewing(lease)) => Err(MigrateError::LeaseLost),
        };
        if let Err(error) = self.lease_release(lease, applied.is_ok()).await {
            tracing::warn!(error = error.one_line(), "lease could not be given back; it ends by itself");
        }
        applied
    }

    /// Counts the snapshots that never expire, because they were made before the trigger that gives each its `expires_at`.
    pub async fn rows_without_expires_at(&self) -> Result<i64, StorageError> {
        const WHAT: &str = "count snapshots without expires_at";
        self.within(Limits::LONG, WHAT, async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
            let rows = sqlx::query_scalar("SELECT count(*) FROM ONLY public.snapshots WHERE expires_at IS NULL")
                .persistent(false)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(rows)
        })
        .await
    }

    /// Versions that this program needs and the database lacks; all of them where it was never migrated.
    pub async fn missing_migrations(&self) -> Result<Vec<i64>, StorageError> {
        self.within(Limits::SHORT, "read the migration table", async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let ours: bool = sqlx::query_scalar("SELECT to_regclass('snapshot_lifecycle.migrations') IS NOT NULL")
                .persistent(false)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during("look for the migration table"))?;
            let applied: Vec<i64> = if ours {
                sqlx::query_scalar("SELECT version FROM snapshot_lifecycle.migrations")
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await
                    .map_err(StorageError::during("read the migration table"))?
            } else {
                Vec::new()
            };
            Self::commit(tx).await?;
            Ok(MIGRATIONS
                .iter()
                .map(|migration| migration.version)
                .filter(|version| !applied.contains(version))
                .collect())
        })
        .await
    }

    async fn preflight(&self) -> Result<(), MigrateError> {
        let failed = || StorageError::during("look at the host's tables");
        let mut tx = self.begin_within(Limits::SHORT, None).await?;
        let (host_tables, there): (bool, bool) = sqlx::query_as(
            "SELECT to_regclass('public.teams') IS NOT NULL AND to_regclass('public.events') IS NOT NULL, \
                    to_regclass('public.snapshots') IS NOT NULL",
        )
        .persistent(false)
        .fetch_one(&mut *tx)
        .await
        .map_err(failed())?;
        let misshapes = table_shape::misshapes(&mut tx).await?;
        let wrong: Vec<(String, Option<String>)> = sqlx::query_as(
            "SELECT c.name || ' ' || c.type, CASE WHEN a.attname IS NULL THEN format('ADD COLUMN %s %s', c.name, c.definition) END \
             FROM (VALUES ('id', 'uuid', 'uuid DEFAULT gen_random_uuid() PRIMARY KEY'), ('team_id', 'uuid', 'uuid REFERENCES public.teams (id)'), \
                          ('snapshot_type', 'text', 'text'), ('event_id', 'uuid', 'uuid REFERENCES public.events (id)'), \
                          ('params', 'jsonb', 'jsonb DEFAULT ''{}'''), ('data', 'jsonb', 'jsonb'), \
                          ('created_at', 'timestamp with time zone', 'timestamptz DEFAULT now()'), \
                          ('expires_at', 'timestamp with time zone', 'timestamptz')) AS c (name, type, definition) \
             LEFT JOIN pg_catalog.pg_attribute AS a \
                 ON a.attrelid = to_regclass('public.snapshots') AND a.attname = c.name AND NOT a.attisdropped \
             WHERE a.attname IS NULL OR format_type(a.atttypid, NULL) NOT IN (c.type, CASE c.type WHEN 'text' THEN 'character varying' ELSE c.type END)",
        )
        .persistent(false)
        .fetch_all(&mut *tx)
        .await
        .map_err(failed())?;
        Self::commit(tx).await?;
        if !there {
            return if host_tables { Ok(()) } else { Err(MigrateError::HostTablesMissing) };
        }
        // The kind of table first: no column makes a view one.
        if let Some(Misshape { says, fix, .. }) =
            misshapes.into_iter().find(|misshape| wrong.is_empty() || misshape.of_its_kind)
        {
            return Err(MigrateError::OtherSnapshots { says, fix });
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let lacks: Vec<_> = wrong.iter().map(|(column, _)| column.as_str()).collect();
        let add: Vec<_> = wrong.iter().filter_map(|(_, add)| add.as_deref()).collect();
        let fix = if add.len() == wrong.len() {
            format!("as the owner: ALTER TABLE public.snapshots {};", add.join(", "))
        } else {
            "columns of these names have other types".to_owned()
        };
        Err(MigrateError::OtherSnapshots { says: format!("it lacks {}", lacks.join(", ")), fix })
    }

    async fn bootstrap(&self) -> Result<(), StorageError> {
        let failed = || StorageError::during("create the schema snapshot_lifecycle");
        let mut tx = self.begin_within(Limits::LONG, None).await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .persistent(false)
            .bind(BOOTSTRAP_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(failed())?;
        let there: bool = sqlx::query_scalar("SELECT to_regclass('snapshot_lifecycle.lease') IS NOT NULL")
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(failed())?;
        // Asked for first, because CREATE … IF NOT EXISTS needs the privilege to create even where all is there.
        if !there {
            sqlx::raw_sql(BOOTSTRAP).execute(&mut *tx).await.map_err(failed())?;
        }
        Self::commit(tx).await
    }

    /// Ends when another has the lease. Taken rather than renewed, so that one that has run out is ours again where nobody wants it; and
    /// while the database does not answer, or a pooler has no connection for us, the work in hand goes on: an index that the server
    /// builds is built whether or not we wait for it.
    async fn keep_renewing(&self, lease: HeldLease<'_>) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.lease_acquire(lease.name, lease.holder, None).await {
                Ok(LeaseAttempt::Held(_)) => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(error = error.one_line(), "lease could not be renewed; trying again"),
            }
        }
    }

    async fn apply_missing(&self) -> Result<Vec<Migrated>, MigrateError> {
        let mut done = Vec::new();
        for migration in MIGRATIONS.iter() {
            if self.is_applied(migration).await? {
                continue;
            }
            if let Err(source) = self.apply(migration).await {
                self.explain(migration, source).await?;
            }
            tracing::info!(version = migration.version, description = %migration.description, "migration applied");
            done.push(Migrated { version: migration.version, description: migration.description.to_string() });
        }
        Box::pin(self.renew_outbox()).await?;
        Ok(done)
    }

    /// Why it failed; `Ok` where it is applied after all, and only the record of it was lost.
    async fn explain(&self, migration: &Migration, source: StorageError) -> Result<(), MigrateError> {
        let (version, description) = (migration.version, migration.description.to_string());
        match source.code().as_deref() {
            Some("57014") if migration.no_tx => Err(MigrateError::IndexTakesTooLong { version, description, source }),
            Some(code) if ALREADY_THERE.contains(&code) => {
                let missing = self.missing_objects(migration).await?;
                if !missing.is_empty() {
                    return Err(MigrateError::HalfThere { version, description, missing: missing.join(", ") });
                }
                tracing::warn!(version, "what this migration makes is there, but was not recorded; recording it");
                let mut tx = self.begin_within(Limits::SHORT, None).await?;
                record(&mut tx, migration).await?;
                Ok(Self::commit(tx).await?)
            }
            _ => Err(MigrateError::Apply { version, description, source }),
        }
    }

    /// Objects that the file creates in our schema, and triggers, as far as they are not there.
    async fn missing_objects(&self, migration: &Migration) -> Result<Vec<String>, StorageError> {
        const WHAT: &str = "look for what the migration makes";
        let text = migration.sql.as_str();
        let words: Vec<_> = text.split([' ', '\n', '(', ';']).filter(|word| !word.is_empty()).collect();
        let made: Vec<_> = words
            .windows(3)
            .filter(|words| words[0] == "CREATE" && ["TABLE", "FUNCTION", "TRIGGER"].contains(&words[1]))
            .map(|words| words[2].to_owned())
            .collect();
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let missing = sqlx::query_scalar(
                "SELECT name FROM unnest($1::text[]) AS made (name) WHERE NOT EXISTS ( \
                     SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                     WHERE format('%s.%s', n.nspname, c.relname) = made.name \
                     UNION ALL \
                     SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace \
                     WHERE format('%s.%s', n.nspname, p.proname) = made.name \
                     UNION ALL \
                     SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgname = made.name)",
            )
            .persistent(false)
            .bind(made)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(missing)
        })
        .await
    }

    async fn is_applied(&self, migration: &Migration) -> Result<bool, MigrateError> {
        let mut tx = self.begin_within(Limits::SHORT, None).await?;
        let checksum: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT checksum FROM snapshot_lifecycle.migrations WHERE version = $1")
                .persistent(false)
                .bind(migration.version)
                .fetch_optional(&mut *tx)
                .await
                .map_err(StorageError::during("read the migration table"))?;
        Self::commit(tx).await?;
        match checksum {
            None => Ok(false),
            Some(checksum) if checksum == *migration.checksum => Ok(true),
            Some(_) => Err(MigrateError::ChecksumMismatch(migration.version)),
        }
    }

    async fn apply(&self, migration: &Migration) -> Result<(), StorageError> {
        let mut tries = 1;
        let may_pass_later = |error: &StorageError| match error.verdict() {
            Verdict::Refused => false,
            // The role's statement_timeout ended it, and the same would take as long.
            Verdict::Timeout => !(migration.no_tx && error.is_statement_timeout()),
            Verdict::Outage | Verdict::Conflict => true,
        };
        loop {
            let applied = if migration.no_tx {
                Box::pin(self.apply_alone(migration)).await
            } else {
                self.apply_in_transaction(migration).await
            };
            match applied {
                Err(error) if may_pass_later(&error) && tries < TRIES_AGAINST_LOCKS => {
                    tracing::warn!(
                        version = migration.version,
                        error = error.one_line(),
                        "migration has to wait for a lock"
                    );
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn apply_in_transaction(&self, migration: &Migration) -> Result<(), StorageError> {
        let mut tx = self.begin_within(Limits::LONG, None).await?;
        sqlx::raw_sql(migration.sql.clone())
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during("run the migration"))?;
        record(&mut tx, migration).await?;
        Self::commit(tx).await
    }

    /// A single statement that refuses a transaction: `CREATE INDEX CONCURRENTLY`. Killed half-way it leaves an invalid
    /// index behind that `IF NOT EXISTS` would take for a good one, so an invalid one is dropped first; one that somebody is building now
    /// is waited for.
    async fn apply_alone(&self, migration: &Migration) -> Result<(), StorageError> {
        let failed = || StorageError::during("build the index");
        let mut said = false;
        let invalid = loop {
            let invalid = self.invalid_indexes(migration).await?;
            if invalid.iter().all(|(_, under_construction)| !under_construction) {
                break invalid;
            }
            if !said {
                tracing::info!(version = migration.version, "another session is building the index; waiting for it");
                said = true;
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        };
        let mut connection = self.patient_connection().await?;
        for (index, _) in invalid {
            let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {index}");
            // The name is quoted by the server's own format('%I').
            sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await.map_err(failed())?;
        }
        sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.map_err(failed())?;
        sqlx::Connection::close(connection).await.ok();
        let mut tx = self.begin_within(Limits::SHORT, None).await?;
        record(&mut tx, migration).await?;
        Self::commit(tx).await
    }

    /// Indexes of the file's names that are not valid, and whether somebody is building them. Who may not see what another role builds
    /// still sees that it builds, and the lock on the table.
    async fn invalid_indexes(&self, migration: &Migration) -> Result<Vec<(String, bool)>, StorageError> {
        const WHAT: &str = "look for an index that is not valid";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let invalid = sqlx::query_as(
                "SELECT format('%I.%I', n.nspname, c.relname), EXISTS ( \
                     SELECT FROM pg_catalog.pg_stat_progress_create_index AS p JOIN pg_catalog.pg_locks AS l ON l.pid = p.pid \
                     WHERE l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted) \
                 FROM pg_catalog.pg_index AS i \
                 JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE i.indrelid = to_regclass('public.snapshots') AND NOT i.indisvalid AND position(c.relname || ' ' IN $1) > 0",
            )
            .persistent(false)
            .bind(migration.sql.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(invalid)
        })
        .await
    }

    /// A connection on which a statement may take hours, whatever time-out the role has. That is asked for as the connection is made,
    /// because nothing can be set for a statement that refuses a transaction where a pooler stands between; a pooler that does not
    /// know the request refuses it, and then the role's time-out holds.
    async fn patient_connection(&self) -> Result<PgConnection, StorageError> {
        let patient = self.options().clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let connected = match connect::connect(&patient).await {
            Err(ConnectFailure::Refused { .. }) => connect::connect(self.options()).await,
            other => other,
        };
        connected
            .map(|(connection, _)| connection)
            .map_err(|failure| StorageError::unconnected("build the index", self.host(), failure))
    }
}

async fn record(
    tx: &mut sqlx::Transaction<'static, sqlx::Postgres>,
    migration: &Migration,
) -> Result<(), StorageError> {
    sqlx::query("INSERT INTO snapshot_lifecycle.migrations (version, description, checksum) VALUES ($1, $2, $3)")
        .persistent(false)
        .bind(migration.version)
        .bind(migration.description.as_ref())
        .bind(migration.checksum.as_ref())
        .execute(&mut **tx)
        .await
        .map_err(StorageError::during("record the migration"))?;
    Ok(())
}
