use crate::storage::{Database, StorageError};

/// What a pass would do now: the dry run of a command without `--yes`. It changes nothing and needs no lease.
pub trait DryRun {
    /// What is counted.
    type Preview;

    /// Counts the rows that the pass would delete or change.
    ///
    /// # Errors
    /// When a statement fails.
    fn preview(&self, database: &Database) -> impl Future<Output = Result<Self::Preview, StorageError>> + Send;
}
