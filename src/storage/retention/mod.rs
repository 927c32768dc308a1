//! How long snapshots of each type are kept, and whether they outlive their event.

pub(super) mod policy;
pub(super) mod restamp;
pub(super) mod terms;
mod ttl;
