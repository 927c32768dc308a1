//! The commands, through the binary: answers, exit codes, tables, `doctor`.

mod answers;
mod bounds;
mod conditions;
mod doctor;
mod self_description;
mod snapshots;
mod tables;
