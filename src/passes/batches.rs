use std::time::Duration;

use tokio::time::Instant;

use super::batch_size::BatchSize;
use super::pass::{PassContext, PassError, Report};
use super::stayed_rows::StayedRows;
use crate::storage::{DeleteBatch, Limits, NextRow, StorageError, Verdict};

/// Rows to delete, in an order in which a place can be named.
pub(super) trait Walk: Sync {
    type Place: Send + Sync;

    /// Deletes the next rows, at most `rows`, from the beginning or after a place. `None` if the lease is lost.
    fn delete(
        &self,
        after: Option<&Self::Place>,
        rows: u32,
    ) -> impl Future<Output = Result<Option<DeleteBatch<Self::Place>>, StorageError>> + Send;

    /// The row that [`delete`](Self::delete) of one row would take.
    fn next(
        &self,
        after: Option<&Self::Place>,
    ) -> impl Future<Output = Result<Option<NextRow<Self::Place>>, StorageError>> + Send;
}

/// Why a walk has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkEnd {
    /// No row is left after the place.
    Complete,
    /// Asked to stop.
    Stopped,
    /// Rows that cannot be deleted have taken all the time that a pass has for them.
    GaveUp,
}

/// The batches of one pass: pace, size, count, stop, and what to do with a row that cannot be deleted. The same for both rules.
pub(super) struct Batches<'a> {
    context: &'a PassContext<'a>,
    size: &'a mut BatchSize,
    report: Report,
    /// Consecutive conflicts.
    conflicts: u32,
    /// How long failed batches have taken in sum.
    failing: Duration,
}

/// The victim of a deadlock can be tried again; more often than this it is no coincidence.
const CONFLICT_TRIES: u32 = 3;

impl<'a> Batches<'a> {
    pub(super) fn new(context: &'a PassContext<'a>, size: &'a mut Option<BatchSize>) -> Self {
        let size = size.get_or_insert_with(|| BatchSize::new(context.rate));
        size.begin_pass();
        Self { context, size, report: Report::default(), conflicts: 0, failing: Duration::ZERO }
    }

    /// Deletes what comes after the place, which moves on with each batch.
    pub(super) async fn walk<W: Walk>(&mut self, walk: &W, after: &mut Option<W::Place>) -> Result<WalkEnd, PassError> {
        loop {
            self.context.stop.heartbeat.back_after(Duration::ZERO);
            if !self.wait_for_budget().await? {
                return Ok(WalkEnd::Stopped);
            }
            let (rows, began) = (self.size.rows(), Instant::now());
            match walk.delete(after.as_ref(), rows).await {
                Ok(None) => return Err(PassError::LeaseLost),
                Ok(Some(batch)) => {
                    self.size.passed(began.elapsed());
                    self.count(&batch);
                    if batch.found < u64::from(rows) {
                        return Ok(WalkEnd::Complete);
                    }
                    *after = batch.last;
                }
                Err(error) => {
                    self.failed(error, walk, after).await?;
                    self.failing += began.elapsed();
                    if self.failing > self.context.failing_at_most && self.size.is_whole() {
                        return Ok(WalkEnd::GaveUp);
                    }
                }
            }
        }
    }

    fn count<P>(&mut self, batch: &DeleteBatch<P>) {
        self.conflicts = 0;
        self.report.deleted += batch.deleted;
        self.report.batches += 1;
        (self.context.on_deleted)(batch.deleted);
        if batch.kept > 0 {
            StayedRows::add(&mut self.report.stayed, batch.kept, &batch.kept_ids, || {
                "found and not deleted; does a trigger or rule of the backend keep them?".to_owned()
            });
        }
    }

    /// After a batch that failed: the next one is smaller or, if it was a single row already, begins after that row.
    ///
    /// Fails if the rows are not the cause: an operator has paused the pass, the session is gone, or a delete of nothing fails too.
    async fn failed<W: Walk>(
        &mut self,
        error: StorageError,
        walk: &W,
        after: &mut Option<W::Place>,
    ) -> Result<(), PassError> {
        if let Some(paused) = error.as_paused() {
            return Err(PassError::Paused(paused));
        }
        let verdict = error.verdict();
        if verdict != Verdict::Timeout && !error.leaves_session_alive() {
            return Err(error.into());
        }
        if verdict == Verdict::Conflict && self.conflicts < CONFLICT_TRIES {
            self.conflicts += 1;
            return self.renew().await;
        }
        let single = if verdict == Verdict::Timeout { !self.size.too_slow() } else { !self.size.refused() };
        // A trigger may raise what looks like an outage.
        if (single || verdict == Verdict::Outage) && self.context.database.can_delete(Limits::SHORT).await.is_err() {
            return Err(error.into());
        }
        // The failed batch took its renewal back with it.
        self.renew().await?;
        if single {
            self.step_over(&error, walk, after).await?;
        }
        Ok(())
    }

    /// Passes over the row that a batch of one cannot delete.
    ///
    /// A query finds that row again. If another session holds a lock on it just then, the row after it is found and reported in its place.
    /// Both are left to the next pass, which begins before them, or reaches them after the rows where it began.
    async fn step_over<W: Walk>(
        &mut self,
        error: &StorageError,
        walk: &W,
        after: &mut Option<W::Place>,
    ) -> Result<(), PassError> {
        self.conflicts = 0;
        self.size.stepped_over();
        // It may have been deleted by now.
        if let Some(row) = walk.next(after.as_ref()).await? {
            StayedRows::add(&mut self.report.stayed, 1, &[row.id], || cause(error));
            *after = Some(row.place);
        }
        Ok(())
    }

    /// For a time without a batch: renews the lease; `false` when asked to stop.
    pub(super) async fn go_on(&self) -> Result<bool, PassError> {
        if self.context.stop.soft.is_cancelled() {
            return Ok(false);
        }
        self.context.stop.heartbeat.back_after(Duration::ZERO);
        self.renew().await?;
        Ok(true)
    }

    async fn renew(&self) -> Result<(), PassError> {
        let ours = self.context.database.lease_renew(self.context.lease).await?;
        if ours { Ok(()) } else { Err(PassError::LeaseLost) }
    }

    /// The report of a pass whose walk has ended.
    pub(super) fn report(mut self, end: WalkEnd) -> Report {
        if let Some(stayed) = &mut self.report.stayed {
            stayed.unfinished = end == WalkEnd::GaveUp;
        }
        self.report.completed = end == WalkEnd::Complete && self.report.stayed.is_none();
        self.report
    }

    /// `false` when asked to stop.
    async fn wait_for_budget(&self) -> Result<bool, PassError> {
        let stop = self.context.stop;
        while !stop.soft.is_cancelled() {
            if self.context.rate.is_none() {
                return Ok(true);
            }
            // A few seconds at most, much less than a lease lasts.
            let wait = self.context.database.delete_budget_wait().await?;
            if wait.is_zero() {
                return Ok(true);
            }
            if !stop.sleep(wait).await {
                break;
            }
        }
        Ok(false)
    }
}

fn cause(error: &StorageError) -> String {
    let words = error.one_line();
    if error.is_statement_timeout() {
        format!("one row takes longer than {} s to delete; {words}", Limits::SHORT.statement.as_secs())
    } else {
        words
    }
}
