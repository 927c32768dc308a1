//! The clockwork: two passes over the whole table, TTL sweep and eviction above the cap.
//!
//! [`Schedule`] waits, asks for the lease and logs; a [`Pass`] does the work in short transactions, and the commands `sweep`
//! and `evict` call the same pass. Between batches a pass waits for the delete budget, outside any transaction; the batch size
//! follows the database's speed.

mod batch_size;
mod cap_eviction;
mod pass;
mod schedule;
mod ttl_sweep;

pub use cap_eviction::CapEviction;
pub use pass::{Pass, PassContext, PassError, Report};
pub use schedule::Schedule;
pub use ttl_sweep::TtlSweep;
