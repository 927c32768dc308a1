//! Creating, reading, listing and importing snapshots.

pub(super) mod import;
pub(super) mod list;
pub(super) mod model;
pub(super) mod store;
