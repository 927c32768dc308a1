use super::migrate_error::MigrateError;
use super::run_migration::TRIES_AGAINST_LOCKS;
use crate::storage::database::Database;
use crate::storage::error::Verdict;
use crate::storage::outbox::install::{OutboxError, OutboxSource};
use crate::storage::outbox::installed::{Made, OutboxTrigger};

/// Replaces the outbox's triggers that an older version installed. One whose columns have other names by now stays as it is, which is
/// logged.
pub(super) async fn renew_triggers(database: &Database) -> Result<(), MigrateError> {
    for trigger in database.outbox_triggers().await? {
        let OutboxTrigger { table, columns, exchange, made, .. } = trigger;
        let Made { schema: Some(schema), name: Some(name), is_older: true, shall_on_insert: on_insert, .. } = made
        else {
            continue;
        };
        let source = OutboxSource { schema, table: name, columns, on_insert, exchange };
        let mut tries = 1;
        while let Err(error) = database.outbox_install(&source).await {
            match error {
                OutboxError::Unfit(problem) => {
                    tracing::warn!(
                        table,
                        problem,
                        "the outbox's trigger is of an older version; run `outbox install` again"
                    );
                    break;
                }
                OutboxError::Storage(error) if error.verdict() != Verdict::Refused && tries < TRIES_AGAINST_LOCKS => {
                    tracing::warn!(table, error = error.one_line(), "the outbox's trigger has to wait for a lock");
                    tries += 1;
                }
                OutboxError::Storage(source) => return Err(MigrateError::Outbox { table, source }),
            }
        }
    }
    Ok(())
}
