//! How long snapshots of each type are kept, and whether they outlive their event.

pub(super) mod policy;
#[cfg(feature = "worker")]
pub(super) mod restamp;
#[cfg(feature = "worker")]
pub(super) mod settings;
#[cfg(feature = "worker")]
pub(super) mod terms;
#[cfg(feature = "worker")]
mod ttl;
