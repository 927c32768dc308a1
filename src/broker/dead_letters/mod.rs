//! The dead-letter queue: read, exported, replayed and removed by `dlq` commands, one at a time.

mod death;
pub(super) mod export;
pub(super) mod held_letter;
mod lock;
pub(super) mod queue;
pub(super) mod read;
mod window;
