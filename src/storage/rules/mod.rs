//! The three rules. Every DELETE of snapshots is here.

mod applied_ahead;
pub(super) mod batch;
mod can_delete;
pub(super) mod cap;
pub(super) mod event_end;
pub(super) mod event_steps;
pub(super) mod step_size;
mod timestamp;
pub(super) mod ttl;
