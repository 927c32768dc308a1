//! How long snapshots of each type are kept, and whether they outlive their event.

#[cfg(feature = "worker")]
pub(super) mod delete_terms;
pub(super) mod kept_types;
#[cfg(feature = "worker")]
pub(super) mod restamp;
#[cfg(feature = "worker")]
pub(super) mod settings;
#[cfg(feature = "worker")]
mod ttl_interval;
