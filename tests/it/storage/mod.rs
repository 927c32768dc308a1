//! The database: migrations, roles, and the library's storage of snapshots.

pub mod access;
mod migrations;
mod privileges;
mod search_path;
mod snapshot_store;
mod statements;
