use crate::storage::error::StorageError;

/// Why the database could not be migrated; each says the fix.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The backend's tables do not exist.
    #[error(
        "the backend's tables are missing: expected public.teams and public.events, each with a primary key id of type uuid, which public.snapshots refers to; create them first, or point DATABASE_URL at the backend's database"
    )]
    BackendTablesMissing,
    /// There is a `public.snapshots` of another shape.
    #[error(
        "public.snapshots exists but is not the table that this program can work on: {message}; nothing was changed; {fix}"
    )]
    OtherSnapshots {
        /// What was observed.
        message: String,
        /// How to fix it.
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
    /// A trigger of an older version could not be replaced.
    #[error(
        "could not replace the outbox's trigger on {table}; all migrations are applied, and the same command tries it again, as the role that owns the trigger's function"
    )]
    Outbox {
        /// With its schema.
        table: String,
        #[source]
        /// What the database said.
        source: StorageError,
    },
    /// The role's own timeout ended the building of an index.
    #[error(
        "the index of migration {version} ({description}) takes longer than the role's statement_timeout allows, and the pooler does not let this program change it; as the owner: ALTER ROLE CURRENT_USER SET statement_timeout = 0; then the same command again goes on from there"
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
        "migration {version} ({description}) is not recorded as applied, but part of what it makes exists, without {missing}; restore snapshot_lifecycle from a backup, or drop what is left of the migration and run the same command again"
    )]
    HalfApplied {
        /// Its number.
        version: i64,
        /// Its name.
        description: String,
        /// What does not exist.
        missing: String,
    },
    /// This process stood still for so long that another took over.
    #[error("another process has taken over the migration; run the same command again")]
    LeaseLost,
    /// Another statement failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
