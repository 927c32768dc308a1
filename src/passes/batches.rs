use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::batch_size::BatchSize;
use super::pass::{PassContext, PassError, Report};
use super::stayed::Stayed;
use crate::storage::{Batch, Limits, NextRow, StorageError, Verdict};

/// Rows to delete, in an order that has places.
pub(super) trait Walk: Sync {
    type Place: Send + Sync;

    /// Deletes the next rows, at most so many, from the beginning or behind a place. `None` where the lease is lost.
    fn delete(
        &self,
        after: Option<&Self::Place>,
        rows: u32,
    ) -> impl Future<Output = Result<Option<Batch<Self::Place>>, StorageError>> + Send;

    /// The row that [`delete`](Self::delete) of one row would take.
    fn next(
        &self,
        after: Option<&Self::Place>,
    ) -> impl Future<Output = Result<Option<NextRow<Self::Place>>, StorageError>> + Send;
}

/// How far a walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// No row is left behind the place.
    ToItsEnd,
    /// Asked to stop.
    Stopped,
    /// Rows that cannot be deleted have taken all the time that a pass has for them.
    GaveUp,
}

/// The batches of one pass: pace, size, count, stop and what to do with a row that cannot be deleted, the same for both rules.
pub(super) struct Batches<'a> {
    context: &'a PassContext<'a>,
    size: &'a mut BatchSize,
    report: Report,
    /// Conflicts in a row.
    conflicts: u32,
    /// What batches that failed have taken together.
    failing: Duration,
}

/// A deadlock's victim may simply go again; more often than this it is no chance.
const CONFLICT_TRIES: u32 = 3;

impl<'a> Batches<'a> {
    pub(super) fn new(context: &'a PassContext<'a>, size: &'a mut Option<BatchSize>) -> Self {
        let size = size.get_or_insert_with(|| BatchSize::new(context.rate));
        size.begin_anew();
        Self { context, size, report: Report::default(), conflicts: 0, failing: Duration::ZERO }
    }

    /// Deletes what lies behind the place, which moves on with each batch.
    pub(super) async fn walk<W: Walk>(&mut self, walk: &W, after: &mut Option<W::Place>) -> Result<Walked, PassError> {
        loop {
            if !self.wait_for_budget().await? {
                return Ok(Walked::Stopped);
            }
            let (rows, began) = (self.size.rows(), Instant::now());
            match walk.delete(after.as_ref(), rows).await {
                Ok(None) => return Err(PassError::LeaseLost),
                Ok(Some(batch)) => {
                    self.size.passed(began.elapsed());
                    self.count(&batch);
                    if batch.found < u64::from(rows) {
                        return Ok(Walked::ToItsEnd);
                    }
                    *after = batch.last;
                }
                Err(error) => {
                    self.failed(error, walk, after).await?;
                    self.failing += began.elapsed();
                    if self.failing > self.context.failing_at_most && self.size.is_whole() {
                        return Ok(Walked::GaveUp);
                    }
                }
            }
        }
    }

    fn count<P>(&mut self, batch: &Batch<P>) {
        self.conflicts = 0;
        self.report.deleted += batch.deleted;
        self.report.batches += 1;
        (self.context.on_deleted)(batch.deleted);
        if batch.kept > 0 {
            Stayed::add(&mut self.report.stayed, batch.kept, &batch.kept_ids, || {
                "found and not deleted; does a trigger or rule of the backend keep them?".to_owned()
            });
        }
    }

    /// After a batch that failed: the next one is smaller or, where it was a single row already, begins behind that row.
    ///
    /// Fails where it is not the rows' fault: the session is gone, or a delete of nothing fails too.
    async fn failed<W: Walk>(
        &mut self,
        error: StorageError,
        walk: &W,
        after: &mut Option<W::Place>,
    ) -> Result<(), PassError> {
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
        if (single || verdict == Verdict::Outage) && self.context.database.trial_delete(Limits::SHORT).await.is_err() {
            return Err(error.into());
        }
        // The failed batch took its renewal back with it.
        self.renew().await?;
        if single {
            self.step_over(&error, walk, after).await?;
        }
        Ok(())
    }

    /// Leaves the row behind that a batch of one cannot delete.
    ///
    /// Which row that is, is asked anew. Where another session holds it just now, the row behind it is taken for it and reported in its
    /// place. Both are left to the next pass, which begins before them, or comes to them after the rows where it began.
    async fn step_over<W: Walk>(
        &mut self,
        error: &StorageError,
        walk: &W,
        after: &mut Option<W::Place>,
    ) -> Result<(), PassError> {
        self.conflicts = 0;
        self.size.stepped_over();
        // It may be gone by now.
        if let Some(row) = walk.next(after.as_ref()).await? {
            Stayed::add(&mut self.report.stayed, 1, &[row.id], || cause(error));
            *after = Some(row.place);
        }
        Ok(())
    }

    /// Between two stretches without a batch: renews the lease; `false` when asked to stop.
    pub(super) async fn go_on(&self) -> Result<bool, PassError> {
        if self.context.stop.is_cancelled() {
            return Ok(false);
        }
        self.renew().await?;
        Ok(true)
    }

    async fn renew(&self) -> Result<(), PassError> {
        let ours = self.context.database.lease_renew(self.context.lease).await?;
        if ours { Ok(()) } else { Err(PassError::LeaseLost) }
    }

    /// The report of a pass that came so far.
    pub(super) fn report(mut self, walked: Walked) -> Report {
        if let Some(stayed) = &mut self.report.stayed {
            stayed.unfinished = walked == Walked::GaveUp;
        }
        self.report.completed = walked == Walked::ToItsEnd && self.report.stayed.is_none();
        self.report
    }

    /// `false` when asked to stop.
    async fn wait_for_budget(&self) -> Result<bool, PassError> {
        let stop = self.context.stop;
        while !stop.is_cancelled() {
            if self.context.rate.is_none() {
                return Ok(true);
            }
            // A few seconds at most, much less than a lease lasts.
            let wait = self.context.database.delete_budget_wait().await?;
            if wait.is_zero() {
                return Ok(true);
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return Ok(false),
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
