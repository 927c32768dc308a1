use std::time::Duration;

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::passes::{Memory, Pass, PassContext, Report};
use snapshot_lifecycle::policy::PassName;
use snapshot_lifecycle::storage::{Database, HeldLease, LeaseName};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Snapshot, World};

pub const HOUR: Duration = Duration::from_hours(1);

/// The lease of the TTL sweep, held by `holder`.
pub const fn ttl_lease(holder: Uuid) -> HeldLease<'static> {
    HeldLease { name: LeaseName::Pass(PassName::Ttl), holder }
}

/// Runs a pass once, under its lease.
pub async fn run_pass<P: Pass>(
    database: &Database,
    pass: &P,
    failing_at_most: Duration,
    memory: &mut Memory<P::Place>,
) -> Report {
    let (holder, stop) = (Uuid::new_v4(), Stop::default());
    let lease = database.lease_acquire(pass.lease(), holder, None).await.unwrap().held().unwrap();
    let context = PassContext { database, lease, rate: None, failing_at_most, stop: &stop, on_deleted: &|_| {} };
    let report = pass.run_once(&context, memory).await.unwrap();
    database.lease_release(lease, false).await.unwrap();
    report
}

impl World {
    /// Inserts rows of one team that expired an hour ago.
    pub async fn insert_expired(&self, count: usize) {
        let (team, past) = (self.team().await, OffsetDateTime::now_utc() - HOUR);
        for _ in 0..count {
            self.insert(&Snapshot::of(team).expires_at(past)).await;
        }
    }
}
