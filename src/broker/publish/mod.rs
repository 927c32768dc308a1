//! Messages to the broker, each confirmed.

pub(super) mod outgoing;
pub(super) mod publisher;
pub(super) mod republish;
pub(super) mod status_publisher;
pub(super) mod stream;
