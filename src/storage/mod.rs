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

mod connection;
mod database;
mod error;
mod inspection;
mod interval;
mod outbox;
mod passes;
mod retention;
mod rules;
mod schema;
mod snapshots;
mod statement;
mod transaction;

pub use connection::connect::ConnectFailure;
pub use database::Database;
pub use error::{StorageError, Verdict};
pub use inspection::connection::Encryption;
pub use inspection::foreign_keys::ForeignKey;
pub use inspection::indexes::{Index, RequiredIndex, Work};
pub use inspection::pooling::Pooling;
pub use inspection::protection::TableProtection;
pub use inspection::server::ServerFacts;
pub use inspection::vacuum::VacuumState;
pub use outbox::install::{OutboxError, OutboxSource};
pub use outbox::records::{OutboxBacklog, OutboxRecord};
pub use outbox::signal::OutboxSignal;
pub use outbox::trigger::{OutboxColumns, OutboxTrigger};
pub use passes::backlog::Backlog;
pub use passes::lease::{HeldLease, LeaseAttempt, LeaseName, outbox_lease};
pub use retention::policy::{RowsOfType, TypeRetention};
pub use retention::restamp::{Restamp, RestampBatch};
pub use rules::batch::{Batch, NextRow};
pub use rules::cap::{CapPlace, Excess, OverfullTeam, TeamPage};
pub use rules::event_end::{EventCount, EventEndOutcome, TypeCount};
pub use rules::event_steps::{EventSteps, StepsOutcome};
pub use rules::step_size::StepSize;
pub use rules::ttl::{Expired, TtlPlace};
pub use schema::access::AccessError;
pub use schema::migrate::Migrated;
pub use schema::migrate_error::MigrateError;
pub use schema::migrations::MigrationState;
pub use schema::table_shape::Misshape;
pub use snapshots::import::NewRow;
pub use snapshots::model::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, StoredSnapshot};
pub use snapshots::store::{SnapshotStore, StoreError};
pub use transaction::Limits;
