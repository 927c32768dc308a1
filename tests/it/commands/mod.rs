//! The commands, through the binary: answers, exit codes, tables, `doctor`.

mod answers;
mod bounds;
mod configuration;
mod doctor;
mod import;
mod killed_servers;
mod missing_rights;
mod output_forms;
mod pause;
mod self_description;
mod snapshots;
mod tables;
