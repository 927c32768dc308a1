use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::pass::{Memory, Pass, PassContext, PassError, Report};
use crate::backoff::jittered;
use crate::lifecycle::Stop;
use crate::storage::{Database, HeldLease, LeaseAttempt};
use crate::telemetry::Metrics;

/// Does a pass at an interval, one replica of the fleet at a time.
pub struct Schedule<P> {
    /// The pass.
    pub pass: P,
    /// From the end of one pass to the next, whichever replica does it.
    pub interval: Duration,
    /// Rows per second of all replicas together.
    pub rate: Option<u32>,
    /// The database.
    pub database: Database,
    /// Where its rows and times are counted.
    pub metrics: Metrics,
}

/// The first pass begins at the latest this long after the start: a worker that is restarted often must still sweep.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// A batch in progress at a stop has this long to end; then it is dropped and rolls back.
const END_WITHIN: Duration = Duration::from_millis(800);
/// For releasing the lease at a stop.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);
/// How long a pass may spend on rows that cannot be deleted, before it leaves the rest to the next one: failing batches hold locks in
/// the backend's tables for nothing.
const FAILING_AT_MOST: Duration = Duration::from_mins(1);

impl<P: Pass> Schedule<P> {
    /// Works until asked to stop. An error of a pass is logged; the next interval tries again.
    pub async fn run(self, stop: Stop) {
        let holder = Uuid::new_v4();
        let mut wait = jittered(self.interval.min(FIRST_WITHIN) / 2);
        // At the start a pass is due however long ago the last one was.
        let mut interval = None;
        let mut memory = Memory::default();
        loop {
            if !stop.sleep(wait).await {
                return;
            }
            tokio::select! {
                () = self.once(holder, interval, &mut memory, &stop) => {}
                () = async { stop.soft.cancelled().await; sleep(END_WITHIN).await } => {
                    self.release_at_stop(holder).await;
                    return;
                }
            }
            interval = Some(self.interval);
            wait = jittered(self.interval);
        }
    }

    async fn once(&self, holder: Uuid, interval: Option<Duration>, memory: &mut Memory<P::Place>, stop: &Stop) {
        let rule = self.pass.name().as_str();
        // A little less than the interval, so that the jitter of one replica does not make it miss its own turn.
        let due_after = interval.map(|interval| interval.mul_f64(0.8));
        let lease = match self.database.lease_acquire(self.pass.lease(), holder, due_after).await {
            Ok(LeaseAttempt::Held(lease)) => lease,
            Ok(LeaseAttempt::TakenOver(lease)) => {
                self.metrics.lease_takeovers.add(self.pass.name().into(), 1);
                lease
            }
            Ok(answer) => {
                tracing::debug!(rule, ?answer, "pass is not due, another replica does it, or it is paused");
                return;
            }
            Err(error) => {
                tracing::warn!(
                    rule,
                    error = error.one_line(),
                    "pass could not begin; trying again at the next interval"
                );
                return;
            }
        };
        let began = Instant::now();
        let context = PassContext {
            database: &self.database,
            lease,
            rate: self.rate,
            failing_at_most: FAILING_AT_MOST,
            stop,
            on_deleted: &|rows| self.metrics.snapshots_deleted.add(self.pass.name().rule(), rows),
        };
        let result = self.pass.run_once(&context, memory).await;
        self.log(&result, began.elapsed());
        let completed = self.pass.is_whole() && result.is_ok_and(|report| report.completed);
        if let Err(error) = self.database.lease_release(lease, completed).await {
            tracing::warn!(rule, error = error.one_line(), "lease could not be released; it expires");
        }
    }

    fn log(&self, result: &Result<Report, PassError>, took: Duration) {
        let rule = self.pass.name().as_str();
        let seconds = took.as_secs_f64();
        self.metrics.pass_seconds.observe_for(self.pass.name(), took);
        match result {
            Ok(Report { stayed: Some(stayed), deleted, batches, .. }) => tracing::warn!(
                rule,
                deleted,
                batches,
                stayed = stayed.rows,
                seconds,
                error = %stayed,
                "rows could not be deleted; trying again at the next interval"
            ),
            Ok(report) if report.deleted == 0 => tracing::debug!(rule, seconds, "pass found nothing"),
            Ok(report) => tracing::info!(
                rule,
                deleted = report.deleted,
                batches = report.batches,
                completed = report.completed,
                seconds,
                "pass done"
            ),
            Err(PassError::Paused(_)) => tracing::info!(rule, seconds, "pass ended early: an operator has paused it"),
            Err(error) => tracing::warn!(
                rule,
                seconds,
                error = error.one_line(),
                "pass failed; trying again at the next interval"
            ),
        }
    }

    async fn release_at_stop(&self, holder: Uuid) {
        let release = async {
            // The dropped batch still runs on the server, and has locked the lease's row.
            self.database.end_dropped().await;
            self.database.lease_release(HeldLease { name: self.pass.lease(), holder }, false).await
        };
        // If the database does not answer, the lease expires.
        timeout(RELEASE_WITHIN, release).await.ok();
    }
}
