use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::batch_size::BatchSize;
use super::stayed::Stayed;
use crate::policy::PassName;
use crate::storage::{Database, HeldLease, LeaseName, StorageError};

/// One kind of pass over the whole table.
pub trait Pass: Send + Sync {
    /// Where a pass can begin.
    type Place: Send;

    /// Its name, which stands for the rule that it applies.
    fn name(&self) -> PassName;

    /// The lease that one of the fleet holds while it does this.
    fn lease(&self) -> LeaseName<'static>;

    /// Whether it goes over everything. Otherwise its end says nothing of when the fleet's next pass is due.
    fn is_whole(&self) -> bool {
        true
    }

    /// Deletes everything that the rule names now. The caller holds the lease.
    ///
    /// A row that cannot be deleted stays and is reported, and the pass goes on behind it. An error half-way leaves what is
    /// committed deleted; the next pass does the rest.
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
    /// Rows a second of all replicas together; `None` is unlimited.
    pub rate: Option<u32>,
    /// How long batches that fail may take together; after that the pass ends behind the row that it came to.
    pub failing_at_most: Duration,
    /// Ends the pass between two batches.
    pub stop: &'a CancellationToken,
    /// Told of each committed batch: for metrics in the worker, for the progress bar in a command.
    pub on_deleted: &'a (dyn Fn(u64) + Send + Sync),
}

/// What one pass leaves to the next of the same process.
pub struct Memory<P> {
    /// What was learnt of the database's speed.
    pub(super) size: Option<BatchSize>,
    /// Behind rows that could not be deleted and took too much of the last pass, so that they do not take all of the next one too.
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
    /// Transactions that it took.
    pub batches: u64,
    /// Whether it went through to its end and left no row behind that it could not delete.
    pub completed: bool,
    /// Rows that could not be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stayed: Option<Stayed>,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another has the lease: this process was stopped or cut off for longer than it lasts.
    #[error("the lease went to another process")]
    LeaseLost,
    /// A statement failed, and it was not one row's fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl PassError {
    /// The error and its causes in one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::LeaseLost => self.to_string(),
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
