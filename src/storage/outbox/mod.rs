//! The transactional outbox: the trigger on the backend's table of events, the records that it makes, and the signal that there are some.

pub(super) mod install;
pub(super) mod installed;
pub(super) mod records;
pub(super) mod signal;
