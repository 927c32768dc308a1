//! Creating, reading, listing and importing snapshots, on behalf of a team and under its row-level security.

pub(super) mod calendar;
pub(super) mod cursor;
#[cfg(feature = "worker")]
pub(super) mod import;
pub(super) mod list;
pub(super) mod model;
mod row;
pub(super) mod store;
pub(super) mod store_error;
#[cfg(feature = "worker")]
pub(super) mod stored;
