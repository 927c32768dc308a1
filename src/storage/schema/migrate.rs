//! Applies `migrations/`.
//!
//! Not sqlx's own runner: that one holds a session's advisory lock and uses named statements, neither of which survives a
//! pooler in transaction mode, and its waiters deadlock with `CREATE INDEX CONCURRENTLY`. Here a lease row decides who
//! migrates, others ask for it again until it is free, and everything is a transaction or a single statement. The
//! files, their order, their checksums and the `-- no-transaction` mark are sqlx's.

use std::time::Duration;

use uuid::Uuid;

use super::bootstrap::bootstrap;
use super::migrate_error::MigrateError;
use super::migrations::{MIGRATIONS, checksum};
use super::preflight::preflight;
use super::recover::recover;
use super::renew_triggers::renew_triggers;
use super::run_migration::run_migration;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::passes::lease::{HeldLease, LeaseAttempt, LeaseName};

/// Often enough for the lease to outlive an index that takes minutes.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Between two requests for a lease that another process holds.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// One migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AppliedMigration {
    /// The number in front of the file's name.
    pub version: i64,
    /// The rest of the file's name.
    pub description: String,
}

impl Database {
    /// Applies what is missing and returns it; nothing where all is applied.
    ///
    /// Safe beside other replicas that do the same: one works, the others wait for it and find nothing left to do. A
    /// holder that died is waited for until its lease ends.
    ///
    /// # Errors
    /// If the database cannot be migrated, with the fix. What was applied stays applied.
    pub async fn migrate(&self) -> Result<Vec<AppliedMigration>, MigrateError> {
        preflight(self).await?;
        bootstrap(self).await?;
        let lease = acquire(self).await?;
        let applied = tokio::select! {
            applied = Box::pin(apply_missing(self)) => applied,
            () = Box::pin(keep_renewing(self, lease)) => Err(MigrateError::LeaseLost),
        };
        if let Err(error) = self.lease_release(lease, applied.is_ok()).await {
            tracing::warn!(error = error.one_line(), "lease could not be released; it ends soon");
        }
        applied
    }
}

async fn acquire(database: &Database) -> Result<HeldLease<'static>, StorageError> {
    let holder = Uuid::new_v4();
    let mut said = false;
    loop {
        if let Some(lease) = database.lease_acquire(LeaseName::Migrate, holder, None).await?.held() {
            return Ok(lease);
        }
        if !said {
            tracing::info!("another process is migrating; waiting for it");
            said = true;
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Ends when another has the lease. Taken rather than renewed, so that one that has run out is ours again where nobody wants it; and
/// while the database does not answer, or a pooler has no connection for us, the work under way goes on: an index that the server
/// builds is built whether or not we wait for it.
async fn keep_renewing(database: &Database, lease: HeldLease<'_>) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match database.lease_acquire(lease.name, lease.holder, None).await {
            Ok(LeaseAttempt::Held(_) | LeaseAttempt::TakenOver(_)) => {}
            Ok(_) => return,
            Err(error) => tracing::debug!(error = error.one_line(), "lease could not be renewed; trying again"),
        }
    }
}

async fn apply_missing(database: &Database) -> Result<Vec<AppliedMigration>, MigrateError> {
    let mut done = Vec::new();
    for migration in MIGRATIONS.iter() {
        match checksum(database, migration).await? {
            None => {}
            Some(checksum) if checksum == *migration.checksum => continue,
            Some(_) => return Err(MigrateError::ChecksumMismatch(migration.version)),
        }
        if let Err(source) = run_migration(database, migration).await {
            recover(database, migration, source).await?;
        }
        tracing::info!(version = migration.version, description = %migration.description, "migration applied");
        done.push(AppliedMigration { version: migration.version, description: migration.description.to_string() });
    }
    Box::pin(renew_triggers(database)).await?;
    Ok(done)
}
