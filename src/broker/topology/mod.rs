//! The worker's exchanges and queues.

pub(super) mod depth;
pub(super) mod names;
