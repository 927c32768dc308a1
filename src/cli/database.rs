use crate::config::DatabaseOptions;
use crate::storage::{Database, StorageError};

/// Opens the database, and makes sure that no rows are hidden from the role: a command would see none, and say that there are none.
pub(super) async fn open(options: &DatabaseOptions, connections: u32) -> anyhow::Result<Database> {
    let database = Database::new(options.database_url.as_ref(), connections)?;
    database.access_check().await?;
    Ok(database)
}

/// The error, with what `needed` says where the role lacks a privilege.
pub(super) fn explained(error: StorageError, needed: &'static str) -> anyhow::Error {
    let (denied, locked) = (error.is_permission_denied(), error.code().as_deref() == Some("55P03"));
    let error = anyhow::Error::from(error);
    if denied {
        error.context(needed)
    } else if locked {
        error.context("the table is locked by others; nothing was changed, try again")
    } else {
        error
    }
}
