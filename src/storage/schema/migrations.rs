use sqlx::migrate::{Migration, Migrator};

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query, query_as, query_scalar};
use crate::storage::transaction::Tx;

/// The files, in order, with their checksums and the `-- no-transaction` mark.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

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
    /// Compares the migrations.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn migrations_state(&self) -> Result<MigrationState, StorageError> {
        let applied = applied(self).await?;
        let mut state = MigrationState { missing: not_in(&applied), ..MigrationState::default() };
        if state.missing.len() == versions().count() {
            return Ok(MigrationState { never: true, ..state });
        }
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

/// Versions that this program needs and the database lacks; all of them where it was never migrated.
pub(super) async fn missing(database: &Database) -> Result<Vec<i64>, StorageError> {
    Ok(not_in(&applied(database).await?))
}

/// What is applied, with checksums; nothing where our table does not exist.
async fn applied(database: &Database) -> Result<Vec<(i64, Vec<u8>)>, StorageError> {
    let mut tx = database.begin(Limits::SHORT, "read the migration table").await?;
    let exists = query_scalar("SELECT to_regclass('snapshot_lifecycle.migrations') IS NOT NULL");
    if !tx.fetch_one::<bool>(exists).await? {
        return tx.commit(Vec::new()).await;
    }
    let all = query_as("SELECT version, checksum FROM snapshot_lifecycle.migrations ORDER BY version");
    let applied = tx.fetch_all(all).await?;
    tx.commit(applied).await
}

fn versions() -> impl Iterator<Item = i64> {
    MIGRATIONS.iter().map(|migration| migration.version)
}

fn not_in(applied: &[(i64, Vec<u8>)]) -> Vec<i64> {
    versions().filter(|version| applied.iter().all(|(applied, _)| applied != version)).collect()
}

/// Notes that the migration is applied.
pub(super) async fn record(tx: &mut Tx, migration: &Migration) -> Result<(), StorageError> {
    let statement =
        query("INSERT INTO snapshot_lifecycle.migrations (version, description, checksum) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(migration.description.as_ref())
            .bind(migration.checksum.as_ref());
    tx.execute(statement).await?;
    Ok(())
}

/// The same in a transaction of its own.
pub(super) async fn record_alone(database: &Database, migration: &Migration) -> Result<(), StorageError> {
    let mut tx = database.begin(Limits::SHORT, "record the migration").await?;
    record(&mut tx, migration).await?;
    tx.commit(()).await
}

/// The checksum of the file that it was applied from; `None` where it is not applied.
pub(super) async fn checksum(database: &Database, migration: &Migration) -> Result<Option<Vec<u8>>, StorageError> {
    let mut tx = database.begin(Limits::SHORT, "read the migration table").await?;
    let asked = query_scalar("SELECT checksum FROM snapshot_lifecycle.migrations WHERE version = $1");
    let checksum = tx.fetch_optional(asked.bind(migration.version)).await?;
    tx.commit(checksum).await
}
