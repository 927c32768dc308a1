//! Messages to the broker: published with `mandatory`, each confirmed.

mod channel;
mod confirm;
pub(super) mod error;
#[cfg(feature = "worker")]
pub(super) mod frame_fit;
mod groups;
pub(super) mod outgoing;
pub(super) mod publisher;
#[cfg(feature = "worker")]
pub(super) mod republish;
pub(super) mod status_publisher;
#[cfg(feature = "worker")]
pub(super) mod stream;
