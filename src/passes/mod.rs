//! Every loop over the whole table: the TTL sweep, the eviction above the cap, and the restamp.
//!
//! A [`Pass`] does its work in short transactions: `run_once()` does it and reports, `preview()` is its dry run ([`DryRun`]). The worker
//! runs it by a [`Schedule`], a command by a [`ManualPass`]; both hold the fleet's lease. Between batches a pass waits for the delete
//! budget, outside any transaction; the batch size follows the database's speed. [`RestampPass`] changes rows instead of deleting them and needs no lease;
//! [`RetentionChange`] sets the policy and may restamp after it. [`EventDeletion`] deletes one event's snapshots by hand, and needs none either.
//!
//! A row that cannot be deleted costs itself only: a batch that fails is narrowed down to the row that makes it fail, and the pass goes on
//! after it. What stayed is counted, and some of it named.

mod batch_size;
mod batches;
mod cap_eviction;
mod dry_run;
mod event_deletion;
mod manual;
mod manual_report;
mod pass;
mod restamp;
mod retention;
mod retention_change;
mod retention_report;
mod schedule;
mod stayed_rows;
mod ttl_sweep;

pub use cap_eviction::{CapEviction, TeamPlace};
pub use dry_run::DryRun;
pub use event_deletion::{EventDeletion, EventDeletionError, EventDeletionReport};
pub use manual::{ManualPass, ManualPassError};
pub use manual_report::ManualReport;
pub use pass::{Memory, Pass, PassContext, PassError, Report};
pub use restamp::{RestampEnd, RestampPass, RestampReport};
pub use retention::{Retention, RetentionEntry};
pub use retention_change::{RetentionChange, RetentionChangeError, RetentionPreview};
pub use retention_report::{POLICY_ROLE, RetentionReport};
pub use schedule::Schedule;
pub use stayed_rows::StayedRows;
pub use ttl_sweep::TtlSweep;
