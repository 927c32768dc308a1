//! The database: migrations, roles, and the library's storage of snapshots.

mod hidden_rows;
mod index_builds;
mod migrations;
mod privileges;
mod search_path;
mod snapshot_store;
mod statements;
mod store_settings;
mod worker_role;
