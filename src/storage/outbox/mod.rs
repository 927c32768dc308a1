//! The transactional outbox: its table, the trigger that fills it, and the signal that something was committed.

pub(super) mod records;
pub(super) mod signal;
