//! Creating, reading, listing and importing snapshots, on behalf of a team and under its row-level security.

pub(super) mod import;
pub(super) mod list;
pub(super) mod model;
pub(super) mod store;
mod team;
