//! The clockwork: two passes over the whole table, TTL sweep and eviction above the cap.
//!
//! [`Schedule`] waits, asks for the lease and logs; a [`Pass`] does the work in short transactions, and the commands `sweep`
//! and `evict` call the same pass. Between batches a pass waits for the delete budget, outside any transaction; the batch size
//! follows the database's speed.
//!
//! A row that cannot be deleted costs itself only: a batch that fails is narrowed down to the row that makes it fail, and the pass goes on
//! behind it. What stayed is counted, and some of it named.

mod batch_size;
mod batches;
mod cap_eviction;
mod pass;
mod schedule;
mod stayed;
mod ttl_sweep;

pub use cap_eviction::{CapEviction, TeamPlace};
pub use pass::{Memory, Pass, PassContext, PassError, Report};
pub use schedule::Schedule;
pub use stayed::Stayed;
pub use ttl_sweep::TtlSweep;
