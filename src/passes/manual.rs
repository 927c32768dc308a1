use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::pass::{Memory, Pass, PassContext, PassError, Report};
use crate::lifecycle::Stop;
use crate::policy::Paused;
use crate::storage::{Database, HeldLease, LeaseAttempt, StorageError};

/// One pass by hand, beside the workers' own.
pub struct ManualPass<'a, P> {
    /// The pass.
    pub pass: &'a P,
    /// The database.
    pub database: &'a Database,
    /// Rows per second, shared with the workers; `None` is unlimited.
    pub rate: Option<u32>,
    /// Called once if a worker is in the middle of the same pass, which is waited for.
    pub on_wait: &'a (dyn Fn() + Send + Sync),
    /// Called after each committed batch with its rows.
    pub on_deleted: &'a (dyn Fn(u64) + Send + Sync),
}

/// Why a pass by hand failed.
#[derive(Debug, thiserror::Error)]
pub enum ManualPassError {
    /// A worker holds the lease for longer than it is waited for.
    #[error("a worker is in the middle of the same pass; try again later")]
    Busy,
    /// An operator has paused it, whoever asks.
    #[error(transparent)]
    Paused(Paused),
    /// The lease could not be asked for.
    #[error("could not begin")]
    Lease(#[source] StorageError),
    /// The pass ended early.
    #[error(transparent)]
    Pass(#[from] PassError),
}

/// A worker's pass ends long before, unless a delete rate slows it down.
const WAIT_AT_MOST: Duration = Duration::from_mins(1);
const ASK_EVERY: Duration = Duration::from_millis(250);

impl<P: Pass> ManualPass<'_, P> {
    /// Waits for the lease, runs the pass to its end, or to the end of a batch when asked to stop, and releases the lease.
    ///
    /// # Errors
    /// When an operator has paused the pass, a worker does not end the same one within a minute, and as [`Pass::run_once`].
    pub async fn run(&self, stop: &Stop) -> Result<Report, ManualPassError> {
        let Some(lease) = self.wait_for_lease(stop).await? else { return Ok(Report::default()) };
        let context = PassContext {
            database: self.database,
            lease,
            rate: self.rate,
            // There is no next pass: this one goes through to the end.
            failing_at_most: Duration::MAX,
            stop,
            on_deleted: self.on_deleted,
        };
        let result = self.pass.run_once(&context, &mut Memory::default()).await;
        let completed = self.pass.is_whole() && result.as_ref().is_ok_and(|report| report.completed);
        self.database.lease_release(lease, completed).await.ok(); // otherwise it expires
        Ok(result?)
    }

    /// `None` when asked to stop.
    async fn wait_for_lease(&self, stop: &Stop) -> Result<Option<HeldLease<'static>>, ManualPassError> {
        let holder = Uuid::new_v4();
        let began = Instant::now();
        let mut announced = false;
        loop {
            let attempt = self.database.lease_acquire(self.pass.lease(), holder, None).await;
            match attempt.map_err(ManualPassError::Lease)? {
                LeaseAttempt::Held(lease) | LeaseAttempt::TakenOver(lease) => return Ok(Some(lease)),
                LeaseAttempt::Paused(paused) => return Err(ManualPassError::Paused(paused)),
                LeaseAttempt::HeldByAnother | LeaseAttempt::NotDue => {}
            }
            if began.elapsed() > WAIT_AT_MOST {
                return Err(ManualPassError::Busy);
            }
            if !announced {
                (self.on_wait)();
                announced = true;
            }
            if !stop.sleep(ASK_EVERY).await {
                return Ok(None);
            }
        }
    }
}
