//! The verdicts, one file per subject: facts of the inspection modules in, findings out.

pub(super) mod autovacuum;
pub(super) mod connection;
pub(super) mod delivery_limit;
pub(super) mod encryption;
pub(super) mod foreign_keys;
pub(super) mod indexes;
pub(super) mod outbox;
pub(super) mod passes;
pub(super) mod pause;
pub(super) mod permissions;
pub(super) mod probe;
pub(super) mod queues;
pub(super) mod retention;
pub(super) mod row_level_security;
pub(super) mod schema;
pub(super) mod server;
mod supabase;
pub(super) mod table;
pub(super) mod topology;
pub(super) mod version;
