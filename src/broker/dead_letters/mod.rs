//! The dead-letter queue, read and replayed.

pub(super) mod export;
pub(super) mod queue;
pub(super) mod read;
mod replay;
