use time::OffsetDateTime;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::schema::migrate::MIGRATIONS;
use crate::storage::transaction::Limits;

/// What the server says of itself and of the role.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ServerFacts {
    /// As in `150018`.
    pub version_number: i32,
    /// As in `15.18 (Debian …)`.
    pub version: String,
    /// Who we are.
    pub role: String,
    /// PostgreSQL 17's limit for a whole transaction, set for the role or the database.
    pub transaction_timeout: Option<String>,
    /// Why it takes no writes, if it does not: `standby` or `default` (`default_transaction_read_only`).
    pub read_only: Option<String>,
    /// Its clock.
    pub now: OffsetDateTime,
    /// Both settings that autovacuum needs.
    pub autovacuum: bool,
}

/// How the database's migrations compare with the program's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationState {
    /// None is applied.
    pub never: bool,
    /// The program has, the database lacks.
    pub missing: Vec<i64>,
    /// The database has, the program does not know: it is the older of the two.
    pub unknown: Vec<i64>,
    /// Applied from files with other contents.
    pub changed: Vec<i64>,
}

impl Database {
    /// Asks the server about itself, in one statement.
    pub async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        const WHAT: &str = "ask the server about itself";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let facts = sqlx::query_as(
                "SELECT current_setting('server_version_num')::int AS version_number, current_setting('server_version') AS version, \
                        current_user::text AS role, \
                        (SELECT split_part(c.setting, '=', 2) FROM pg_catalog.pg_db_role_setting AS s, unnest(s.setconfig) AS c (setting) \
                         WHERE c.setting LIKE 'transaction\\_timeout=%' AND c.setting <> 'transaction_timeout=0' \
                           AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
                           AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)) LIMIT 1) AS transaction_timeout, \
                        CASE WHEN pg_is_in_recovery() THEN 'standby' WHEN current_setting('default_transaction_read_only')::bool THEN 'default' END AS read_only, clock_timestamp() AS now, \
                        current_setting('autovacuum')::bool AND current_setting('track_counts')::bool AS autovacuum",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(facts)
        })
        .await
    }

    /// Compares the migrations.
    pub async fn migration_state(&self) -> Result<MigrationState, StorageError> {
        const WHAT: &str = "read the migration table";
        let missing = self.missing_migrations().await?;
        if missing.len() == MIGRATIONS.iter().count() {
            return Ok(MigrationState { never: true, missing, ..MigrationState::default() });
        }
        let applied: Vec<(i64, Vec<u8>)> = self
            .within(Limits::SHORT, WHAT, async {
                let mut tx = self.begin_within(Limits::SHORT, None).await?;
                let applied =
                    sqlx::query_as("SELECT version, checksum FROM snapshot_lifecycle.migrations ORDER BY version")
                        .persistent(false)
                        .fetch_all(&mut *tx)
                        .await
                        .map_err(StorageError::during(WHAT))?;
                Self::commit(tx).await?;
                Ok(applied)
            })
            .await?;
        let mut state = MigrationState { missing, ..MigrationState::default() };
        for (version, checksum) in applied {
            match MIGRATIONS.iter().find(|migration| migration.version == version) {
                None => state.unknown.push(version),
                Some(migration) if *migration.checksum != *checksum => state.changed.push(version),
                Some(_) => {}
            }
        }
        Ok(state)
    }
}
