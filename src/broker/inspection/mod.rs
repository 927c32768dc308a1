//! What `doctor` asks of the broker.

pub(super) mod compare;
