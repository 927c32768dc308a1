use std::time::Duration;

use serde::Serialize;

use super::batch_size::BatchSize;
use super::dry_run::DryRun;
use super::stayed_rows::StayedRows;
use crate::lifecycle::Stop;
use crate::policy::{PassName, Paused};
use crate::storage::{Database, HeldLease, LeaseName, StorageError};

/// One kind of pass over the whole table.
pub trait Pass: DryRun + Send + Sync {
    /// Where a pass can begin.
    type Place: Send;

    /// Its name, which stands for the rule that it applies.
    fn name(&self) -> PassName;

    /// The lease that one replica of the fleet holds during the pass.
    fn lease(&self) -> LeaseName<'static> {
        LeaseName::Pass(self.name())
    }

    /// Whether it covers everything. Otherwise its end says nothing about when the fleet's next pass is due.
    fn is_whole(&self) -> bool {
        true
    }

    /// Deletes everything that the rule names now. The caller holds the lease.
    ///
    /// A row that cannot be deleted stays and is reported, and the pass goes on after it.
    ///
    /// # Errors
    /// When the lease is lost, an operator pauses the pass, or a statement fails and no single row is the cause. What is committed until then stays deleted; the next
    /// pass does the rest.
    fn run_once(
        &self,
        context: &PassContext<'_>,
        memory: &mut Memory<Self::Place>,
    ) -> impl Future<Output = Result<Report, PassError>> + Send;
}

/// What a pass works with.
pub struct PassContext<'a> {
    /// The database.
    pub database: &'a Database,
    /// The lease that the caller holds.
    pub lease: HeldLease<'static>,
    /// Rows per second of all replicas together; `None` is unlimited.
    pub rate: Option<u32>,
    /// How long failing batches may take in sum; after that the pass ends at the row that it has reached.
    pub failing_at_most: Duration,
    /// A soft stop ends the pass between two batches.
    pub stop: &'a Stop,
    /// Called after each committed batch with its rows: for metrics in the worker, for the progress bar in a command.
    pub on_deleted: &'a (dyn Fn(u64) + Send + Sync),
}

/// What one pass leaves to the next of the same process.
pub struct Memory<P> {
    /// The batch size that suits the database's speed.
    pub(super) size: Option<BatchSize>,
    /// After rows that could not be deleted and took too much of the last pass, so that they do not take all of the next one too.
    pub(super) begin_at: Option<P>,
}

impl<P> Default for Memory<P> {
    fn default() -> Self {
        Self { size: None, begin_at: None }
    }
}

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Rows deleted.
    pub deleted: u64,
    /// Transactions that deleted rows.
    pub batches: u64,
    /// Whether it reached its end, and no row stayed that it could not delete.
    pub completed: bool,
    /// Rows that could not be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stayed: Option<StayedRows>,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another process holds the lease: this one was stopped or cut off for longer than the lease lasts.
    #[error("the lease went to another process")]
    LeaseLost,
    /// An operator has paused it. What is committed until then stays deleted.
    #[error(transparent)]
    Paused(Paused),
    /// A statement failed, and no single row is the cause.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl PassError {
    /// The error and its causes in one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::LeaseLost | Self::Paused(_) => self.to_string(),
            Self::Storage(error) => error.one_line(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_lease_is_told_in_one_line() {
        assert_eq!(PassError::LeaseLost.one_line(), "the lease went to another process");
    }
}
