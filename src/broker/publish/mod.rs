//! Messages to the broker: published with `mandatory`, each confirmed.

mod channel;
mod confirm;
pub(super) mod error;
pub(super) mod frame_fit;
pub(super) mod outgoing;
pub(super) mod publisher;
pub(super) mod republish;
pub(super) mod status_publisher;
pub(super) mod stream;
