use sqlx::migrate::Migration;

use super::migrate_error::MigrateError;
use super::migrations::record_alone;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_scalar, sql};

/// Tables, functions, triggers, schemas, columns, and rows under a key.
const ALREADY_EXISTS: [&str; 6] = ["42P07", "42723", "42710", "42P06", "42701", "23505"];

/// Why a migration failed; `Ok` where it is applied after all, and only the record of it was lost.
pub(super) async fn recover(
    database: &Database,
    migration: &Migration,
    source: StorageError,
) -> Result<(), MigrateError> {
    let (version, description) = (migration.version, migration.description.to_string());
    match source.code().as_deref() {
        Some("57014") if migration.no_tx => Err(MigrateError::IndexTakesTooLong { version, description, source }),
        Some(code) if ALREADY_EXISTS.contains(&code) => {
            let missing = missing_objects(database, migration).await?;
            if !missing.is_empty() {
                return Err(MigrateError::HalfApplied { version, description, missing: missing.join(", ") });
            }
            tracing::warn!(version, "what this migration makes exists, but was not recorded; recording it");
            Ok(record_alone(database, migration).await?)
        }
        _ => Err(MigrateError::Apply { version, description, source }),
    }
}

/// Objects that the file creates in our schema, and triggers, as far as they do not exist.
async fn missing_objects(database: &Database, migration: &Migration) -> Result<Vec<String>, StorageError> {
    let text = migration.sql.as_str();
    let words: Vec<_> = text.split([' ', '\n', '(', ';']).filter(|word| !word.is_empty()).collect();
    let made: Vec<_> = words
        .windows(3)
        .filter(|words| words[0] == "CREATE" && ["TABLE", "FUNCTION", "TRIGGER"].contains(&words[1]))
        .map(|words| words[2].to_owned())
        .collect();
    let mut tx = database.begin(Limits::SHORT, "find what the migration makes").await?;
    let missing = tx.fetch_all(query_scalar(sql!("missing_objects.sql")).bind(made)).await?;
    tx.commit(missing).await
}
