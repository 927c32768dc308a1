//! The three rules. Every DELETE of the worker's is here. Those of [`SnapshotStore`](crate::SnapshotStore) are in `storage/snapshots`,
//! and its delete at an event's end has the same `event_end_rule.sql` in it.

mod applied_ahead;
mod can_delete;
pub(super) mod cap;
pub(super) mod delete_batch;
pub(super) mod event_end;
pub(super) mod event_steps;
pub(super) mod step_size;
mod timestamp;
pub(super) mod ttl;
