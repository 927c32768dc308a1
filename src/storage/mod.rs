//! PostgreSQL, the only module that names sqlx.
//!
//! | module | |
//! |---|---|
//! | `rules` | the three rules: every DELETE of the worker's is one of its `.sql` files, with `*_doomed.sql` and `event_end_rule.sql` in them |
//! | `passes` | who does a pass now (lease), how fast passes may delete (budget), how much is left (backlog) |
//! | `retention` | how long snapshots of a type are kept, and whether they outlive their event |
//! | `snapshots` | creating, reading, listing, importing |
//! | `outbox` | the table of recorded status changes, the trigger that fills it, the signal of a commit |
//! | `schema` | `migrate`, and whether the role and the table let a delete reach every row |
//! | `inspection` | facts for `doctor` |
//! | `connection` | from `DATABASE_URL` to a pool whose server answers |
//! | `transaction`, `statement` | the one way to run SQL |
//!
//! A method of [`Database`] begins with the stem of its file, the object, and then says the verb: `ttl_delete_batch` is in `ttl.rs`, its
//! SQL in `ttl_delete_batch.sql` beside it. So all that is done with a thing is found by its name.
//!
//! Everything here works through a pooler in transaction mode, so nothing relies on a session:
//!
//! - every statement runs inside an explicit transaction and unnamed, because outside of one the parse and the execution may reach two
//!   different backends;
//! - time-outs are set for the transaction with `set_config(…, true)`, never for the session or as a start-up parameter;
//! - coordination is rows in the schema `snapshot_lifecycle` (lease, budget), never a session's advisory lock;
//! - names are qualified, and `search_path` leads to nobody else's functions and operators, see `transaction.rs`.
//!
//! Every transaction that deletes also sets `snapshot_lifecycle.rule` (`event_end`, `ttl`, `cap`), so that a backend's own audit
//! trigger can say which rule deleted a row: `current_setting('snapshot_lifecycle.rule', true)`.

mod connection;
mod database;
mod error;
mod inspection;
mod interval;
mod limits;
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
pub use limits::Limits;
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
