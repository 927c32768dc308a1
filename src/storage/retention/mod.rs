//! How long snapshots of each type are kept, and whether they outlive their event.

#[cfg(feature = "worker")]
mod interval;
pub(super) mod kept_types;
#[cfg(feature = "worker")]
pub(super) mod restamp;
#[cfg(feature = "worker")]
pub(super) mod settings;
#[cfg(feature = "worker")]
pub(super) mod terms;
