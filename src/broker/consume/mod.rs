//! Deliveries from the work queue, and their acknowledgement.

pub(super) mod delivery;
pub(super) mod subscription;
