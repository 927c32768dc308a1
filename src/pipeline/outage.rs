//! Whether an error is an outage of the database, in which every delete fails, or concerns only what was deleted.
//!
//! It is found out by whether a delete of nothing succeeds: a trigger may raise any SQLSTATE.

use std::time::Duration;

use crate::storage::{Database, Limits, StorageError};

/// Messages are waiting for the answer.
const LIMITS: Limits = Limits { lock: Duration::from_millis(250), statement: Duration::from_millis(500) };

/// Whether every delete fails now. Logs the error if so.
pub(super) async fn is_outage(database: &Database, error: &StorageError) -> bool {
    if error.is_no_access() {
        tracing::error!(error = error.one_line(), "database role may not delete; holding messages");
        return true;
    }
    // Without a code the server did not answer: asking again at once would only take longer.
    if error.code().is_some() && deletes_succeed(database).await {
        return false;
    }
    tracing::warn!(
        error = error.one_line(),
        sqlstate = error.code(),
        "database does not take deletes; holding messages"
    );
    true
}

/// Whether a delete succeeds now.
pub(super) async fn deletes_succeed(database: &Database) -> bool {
    database.can_delete(LIMITS).await.is_ok()
}
