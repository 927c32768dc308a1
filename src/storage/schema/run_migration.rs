use sqlx::migrate::Migration;

use super::build_index::build_index;
use super::migrations::record;
use crate::storage::database::Database;
use crate::storage::error::{StorageError, Verdict};
use crate::storage::limits::Limits;

/// A busy table may refuse the short lock that DDL asks for; it is asked this often, a lock timeout apart.
pub(super) const TRIES_AGAINST_LOCKS: u32 = 10;

/// Applies a migration and records it.
pub(super) async fn run_migration(database: &Database, migration: &Migration) -> Result<(), StorageError> {
    let mut tries = 1;
    let may_pass_later = |error: &StorageError| match error.verdict() {
        Verdict::Refused => false,
        // The role's statement_timeout ended it, and the same would take as long.
        Verdict::Timeout => !(migration.no_tx && error.is_statement_timeout()),
        Verdict::Outage | Verdict::Conflict => true,
    };
    loop {
        let applied = if migration.no_tx {
            Box::pin(build_index(database, migration)).await
        } else {
            in_transaction(database, migration).await
        };
        match applied {
            Err(error) if may_pass_later(&error) && tries < TRIES_AGAINST_LOCKS => {
                let version = migration.version;
                tracing::warn!(version, error = error.one_line(), "migration has to wait for a lock");
                tries += 1;
            }
            other => return other,
        }
    }
}

async fn in_transaction(database: &Database, migration: &Migration) -> Result<(), StorageError> {
    let mut tx = database.begin(Limits::LONG, "run the migration").await?;
    tx.execute_script(migration.sql.clone()).await?;
    record(&mut tx, migration).await?;
    tx.commit(()).await
}
