//! PostgreSQL, the only room that names sqlx: one function a statement.
//!
//! Everything here works through a pooler in transaction mode, so nothing relies on a session:
//!
//! - every statement runs inside an explicit transaction and unnamed (`persistent(false)`), because outside of one the
//!   parse and the execution may reach two different backends;
//! - time-outs are set for the transaction with `set_config(…, true)`, never for the session or as a start-up parameter;
//! - coordination is rows in the schema `snapshot_lifecycle` (lease, budget), never a session's advisory lock;
//! - names are qualified, and `search_path` leads to nobody else's functions and operators, see `database.rs`.
//!
//! Every transaction that deletes also sets `snapshot_lifecycle.rule` (`event_end`, `ttl`, `cap`), so that a host's own audit
//! trigger can say which rule took a row: `current_setting('snapshot_lifecycle.rule', true)`.

mod access;
mod backlog;
mod batch;
mod cap;
mod connect;
mod database;
mod database_url;
mod delete_budget;
mod error;
mod event_end;
mod event_steps;
mod inspection;
mod lease;
mod migrate;
mod outbox;
mod outbox_signal;
mod outstanding;
mod retention_policy;
mod snapshot;
mod snapshot_import;
mod snapshot_look;
mod snapshot_store;
mod step_size;
mod table_shape;
mod timestamp;
mod ttl;

pub use access::AccessError;
pub use backlog::Backlog;
pub use batch::{Batch, NextRow};
pub use cap::{CapPlace, Excess, Look, OverfullTeam};
pub use connect::ConnectFailure;
pub use database::{Database, Limits};
pub use error::{StorageError, Verdict};
pub use event_end::{Ended, EventCount, TypeCount};
pub use event_steps::{EventSteps, Stepped};
pub use inspection::{
    Encryption, Guards, Index, MigrationState, Need, Pooling, Reference, ServerFacts, TableUpkeep, Work,
};
pub use lease::{Acquired, LeaseName, outbox_lease};
pub use migrate::{MigrateError, Migrated};
pub use outbox::{OutboxBacklog, OutboxColumns, OutboxError, OutboxRecord, OutboxSource, OutboxTrigger};
pub use outbox_signal::OutboxSignal;
pub use retention_policy::{Restamp, TypeRetention};
pub use snapshot::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, StoredSnapshot};
pub use snapshot_import::NewRow;
pub use snapshot_store::{SnapshotStore, StoreError};
pub use step_size::StepSize;
pub use table_shape::Misshape;
pub use ttl::{Expired, TtlPlace};
