use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch_size::BatchSize;
use crate::policy::Rule;
use crate::storage::{Database, LeaseName, StorageError, Verdict};

/// One kind of pass over the whole table.
pub trait Pass: Send + Sync {
    /// The rule it applies.
    fn rule(&self) -> Rule;

    /// The lease that one of the fleet holds while it does this.
    fn lease(&self) -> LeaseName<'static>;

    /// Deletes everything that the rule names now. The caller holds the lease.
    ///
    /// An error half-way leaves what is committed deleted; the next pass does the rest.
    fn run_once(&self, context: &PassContext<'_>) -> impl Future<Output = Result<Report, PassError>> + Send;
}

/// What a pass works with.
pub struct PassContext<'a> {
    /// The database.
    pub database: &'a Database,
    /// Who holds the lease.
    pub holder: Uuid,
    /// Rows a second of all replicas together; `None` is unlimited.
    pub rate: Option<u32>,
    /// Ends the pass between two batches.
    pub stop: &'a CancellationToken,
    /// Told of each committed batch: for metrics in the worker, for the progress bar in a command.
    pub on_deleted: &'a (dyn Fn(u64) + Send + Sync),
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Rows deleted.
    pub deleted: u64,
    /// Transactions that it took.
    pub batches: u64,
    /// Whether it went through to its end; otherwise it was stopped.
    pub completed: bool,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another has the lease: this process was stopped or cut off for longer than it lasts.
    #[error("the lease went to another process")]
    LeaseLost,
    /// Some rows are still there, without an error; the others are gone.
    #[error("rows were found and not deleted; does a trigger or rule of the host keep them?")]
    Kept,
    /// A statement failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl PassError {
    /// The error and its causes in one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::LeaseLost | Self::Kept => self.to_string(),
            Self::Storage(error) => error.one_line(),
        }
    }
}

/// A lease is renewed by each batch, and while waiting for the budget at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The batches of one pass: pace, size, count and stop, the same for both rules.
pub(super) struct Batches<'a> {
    context: &'a PassContext<'a>,
    lease: LeaseName<'static>,
    size: BatchSize,
    report: Report,
}

/// One step of [`Batches`].
pub(super) enum Step<T> {
    /// The batch was committed.
    Done(T),
    /// It was too large for its time-out; the next is smaller.
    TooSlow,
    /// Asked to stop before it began.
    Stopped,
}

impl<'a> Batches<'a> {
    pub(super) fn new(context: &'a PassContext<'a>, lease: LeaseName<'static>) -> Self {
        Self { context, lease, size: BatchSize::new(context.rate), report: Report::default() }
    }

    /// Waits for the budget, then does one batch of at most the given rows. The batch answers with its result and the rows
    /// it deleted, or `None` where the lease is lost.
    pub(super) async fn step<T, F>(&mut self, batch: impl FnOnce(u32) -> F) -> Result<Step<T>, PassError>
    where
        F: Future<Output = Result<Option<(T, u64)>, StorageError>>,
    {
        if !self.wait_for_budget().await? {
            return Ok(Step::Stopped);
        }
        let began = Instant::now();
        match batch(self.size.rows()).await {
            Ok(Some((result, deleted))) => {
                self.size.took(began.elapsed());
                self.report.deleted += deleted;
                self.report.batches += 1;
                (self.context.on_deleted)(deleted);
                Ok(Step::Done(result))
            }
            Ok(None) => Err(PassError::LeaseLost),
            Err(error) if error.verdict() == Verdict::Timeout && self.size.shrink() => Ok(Step::TooSlow),
            Err(error) => Err(error.into()),
        }
    }

    /// Between two stretches without a batch: renews the lease; `false` when asked to stop.
    pub(super) async fn go_on(&self) -> Result<bool, PassError> {
        if self.context.stop.is_cancelled() {
            return Ok(false);
        }
        if self.context.database.renew_lease(self.lease, self.context.holder).await? {
            Ok(true)
        } else {
            Err(PassError::LeaseLost)
        }
    }

    /// The report of a pass that went through.
    pub(super) const fn completed(mut self) -> Report {
        self.report.completed = true;
        self.report
    }

    /// The report of a pass that was stopped.
    pub(super) const fn stopped(self) -> Report {
        self.report
    }

    /// `false` when asked to stop.
    async fn wait_for_budget(&self) -> Result<bool, PassError> {
        let stop = self.context.stop;
        while !stop.is_cancelled() {
            if self.context.rate.is_none() {
                return Ok(true);
            }
            let wait = self.context.database.budget_wait().await?;
            if wait.is_zero() {
                return Ok(true);
            }
            tokio::select! {
                () = sleep(wait.min(LONGEST_WAIT)) => {}
                () = stop.cancelled() => return Ok(false),
            }
            if wait > LONGEST_WAIT && !self.context.database.renew_lease(self.lease, self.context.holder).await? {
                return Err(PassError::LeaseLost);
            }
        }
        Ok(false)
    }
}
