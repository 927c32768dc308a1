//! What the passes of all replicas share: who does one now, how fast they may delete, how much is left to do.

pub(super) mod backlog;
pub(super) mod delete_budget;
pub(super) mod lease;
