//! Applies `migrations/`.
//!
//! Not sqlx's own runner: that one holds a session's advisory lock and uses named statements, neither of which survives a
//! pooler in transaction mode, and its waiters deadlock with `CREATE INDEX CONCURRENTLY`. Here a lease row decides who
//! migrates, others ask for it again until it is free, and everything is a transaction or a single statement. The
//! files, their order, their checksums and the `-- no-transaction` mark are sqlx's.

use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use uuid::Uuid;

use super::{Acquired, Database, LeaseName, Limits, StorageError};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

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
pub(super) const TRIES_AGAINST_LOCKS: u32 = 10;

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
    #[error("public.snapshots exists but is not the table that this program can work on: {0}; nothing was changed")]
    OtherSnapshots(String),
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
        while self.acquire_lease(LeaseName::Migrate, holder, None).await? != Acquired::Yes {
            if !said {
                tracing::info!("another process is migrating; waiting for it");
                said = true;
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        let applied = tokio::select! {
            applied = self.apply_missing() => applied,
            lost = self.keep_renewing(holder) => Err(lost),
        };
        self.release_lease(LeaseName::Migrate, holder, applied.is_ok()).await?;
        applied
    }

    /// Versions that this program needs and the database lacks; all of them where it was never migrated.
    pub async fn missing_migrations(&self) -> Result<Vec<i64>, StorageError> {
        self.within(Limits::SHORT, "read the migration table", async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
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
        let mut tx = self.begin(Limits::SHORT, None).await?;
        let (host_tables, kind): (bool, Option<String>) = sqlx::query_as(
            "SELECT to_regclass('public.teams') IS NOT NULL AND to_regclass('public.events') IS NOT NULL, \
                    (SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = to_regclass('public.snapshots'))",
        )
        .persistent(false)
        .fetch_one(&mut *tx)
        .await
        .map_err(failed())?;
        let wrong: Vec<String> = sqlx::query_scalar(
            "SELECT c.name || ' ' || c.type \
             FROM (VALUES ('id', 'uuid'), ('team_id', 'uuid'), ('snapshot_type', 'text'), ('event_id', 'uuid'), ('params', 'jsonb'), \
                          ('data', 'jsonb'), ('created_at', 'timestamp with time zone'), ('expires_at', 'timestamp with time zone')) AS c (name, type) \
             WHERE NOT EXISTS ( \
                 SELECT FROM pg_catalog.pg_attribute AS a \
                 WHERE a.attrelid = to_regclass('public.snapshots') AND a.attname = c.name AND NOT a.attisdropped \
                   AND format_type(a.atttypid, NULL) IN (c.type, CASE c.type WHEN 'text' THEN 'character varying' END))",
        )
        .persistent(false)
        .fetch_all(&mut *tx)
        .await
        .map_err(failed())?;
        Self::commit(tx).await?;
        match kind.as_deref() {
            None if !host_tables => Err(MigrateError::HostTablesMissing),
            None => Ok(()),
            Some("r") if wrong.is_empty() => Ok(()),
            Some("r") => Err(MigrateError::OtherSnapshots(format!("it lacks {}", wrong.join(", ")))),
            Some("p") => Err(MigrateError::OtherSnapshots("it is partitioned".to_owned())),
            Some(_) => Err(MigrateError::OtherSnapshots("it is not a table".to_owned())),
        }
    }

    async fn bootstrap(&self) -> Result<(), StorageError> {
        let failed = || StorageError::during("create the schema snapshot_lifecycle");
        let mut tx = self.begin(Limits::LONG, None).await?;
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

    async fn keep_renewing(&self, holder: Uuid) -> MigrateError {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.renew_lease(LeaseName::Migrate, holder).await {
                Ok(true) => {}
                Ok(false) => return MigrateError::LeaseLost,
                Err(error) => return error.into(),
            }
        }
    }

    async fn apply_missing(&self) -> Result<Vec<Migrated>, MigrateError> {
        let mut done = Vec::new();
        for migration in MIGRATIONS.iter() {
            if self.is_applied(migration).await? {
                continue;
            }
            self.apply(migration).await.map_err(|source| MigrateError::Apply {
                version: migration.version,
                description: migration.description.to_string(),
                source,
            })?;
            tracing::info!(version = migration.version, description = %migration.description, "migration applied");
            done.push(Migrated { version: migration.version, description: migration.description.to_string() });
        }
        Box::pin(self.renew_outbox()).await?;
        Ok(done)
    }

    async fn is_applied(&self, migration: &Migration) -> Result<bool, MigrateError> {
        let mut tx = self.begin(Limits::SHORT, None).await?;
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
        loop {
            let applied = if migration.no_tx {
                self.apply_alone(migration).await
            } else {
                self.apply_in_transaction(migration).await
            };
            match applied {
                Err(error) if !matches!(error.verdict(), super::Verdict::Refused) && tries < TRIES_AGAINST_LOCKS => {
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
        let mut tx = self.begin(Limits::LONG, None).await?;
        sqlx::raw_sql(migration.sql.clone())
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during("run the migration"))?;
        record(&mut tx, migration).await?;
        Self::commit(tx).await
    }

    /// A single statement that refuses a transaction: `CREATE INDEX CONCURRENTLY`. Killed half-way it leaves an invalid
    /// index behind that `IF NOT EXISTS` would take for a good one, so an invalid one is dropped first.
    async fn apply_alone(&self, migration: &Migration) -> Result<(), StorageError> {
        let failed = || StorageError::during("build the index");
        let mut tx = self.begin(Limits::SHORT, None).await?;
        let invalid: Vec<String> = sqlx::query_scalar(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index AS i \
             JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE i.indrelid = to_regclass('public.snapshots') AND NOT i.indisvalid AND position(c.relname || ' ' IN $1) > 0",
        )
        .persistent(false)
        .bind(migration.sql.as_str())
        .fetch_all(&mut *tx)
        .await
        .map_err(failed())?;
        Self::commit(tx).await?;
        for index in invalid {
            let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {index}");
            // The name is quoted by the server's own format('%I').
            sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&self.pool()).await.map_err(failed())?;
        }
        sqlx::raw_sql(migration.sql.clone()).execute(&self.pool()).await.map_err(failed())?;
        let mut tx = self.begin(Limits::SHORT, None).await?;
        record(&mut tx, migration).await?;
        Self::commit(tx).await
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
