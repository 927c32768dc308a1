//! Deliveries of the work queue.

pub(super) mod delivery;
pub(super) mod subscription;
