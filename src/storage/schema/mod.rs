//! The shape of the database: what `migrate` makes, and whether the table and the role are such that a delete reaches every row.

pub(super) mod access;
mod bootstrap;
mod build_index;
pub(super) mod migrate;
pub(super) mod migrate_error;
pub(super) mod migration_report;
pub(super) mod migrations;
mod preflight;
mod recover;
mod renew_triggers;
mod run_migration;
pub(super) mod table_shape;
mod wait;
