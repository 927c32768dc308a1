//! PostgreSQL, the only module that names sqlx.
//!
//! | module | |
//! |---|---|
//! | `rules` | the three rules: every DELETE of the worker's is one of its `.sql` files, with `*_doomed.sql` and `event_end_rule.sql` in them |
//! | `passes` | who does a pass now (lease), how fast passes may delete (budget), how much is left (backlog) |
//! | `pause` | what an operator has stopped for the whole fleet; every deleting transaction of a worker asks it |
//! | `retention` | how long snapshots of a type are kept, and whether they outlive their event |
//! | `snapshots` | creating, reading, listing, importing |
//! | `outbox` | the table of recorded status changes, the trigger that fills it, the signal of a commit |
//! | `schema` | `migrate`, and whether the role and the table let a delete reach every row |
//! | `inspection` | facts for `doctor` |
//! | `connection` | from a URL to a pool whose server answers |
//! | `transaction`, `statement` | the one way to run SQL |
//!
//! A method of [`Database`] begins with the stem of its file or of its folder: `ttl_delete_batch` is in `ttl.rs`, `snapshots_list` in
//! `snapshots/list.rs`. Exceptions are what is asked of the backend's other tables (`team_exists`) and what concerns the connection
//! (`close`). A `.sql` file lies beside its function and is named in the same way, the object first and the verb, if any, after it.
//!
//! Everything here works through a pooler in transaction mode, so nothing relies on a session:
//!
//! - every statement runs inside an explicit transaction and unnamed, because outside of one the parse and the execution may reach two
//!   different backends;
//! - timeouts are set for the transaction with `set_config(…, true)`, never for the session or as a start-up parameter;
//! - coordination is rows in the schema `snapshot_lifecycle` (lease, budget), never a session's advisory lock;
//! - names are qualified, and `search_path` leads to nobody else's functions and operators, see `transaction.rs`.
//!
//! Every transaction that deletes also sets `snapshot_lifecycle.rule` (`event_end`, `ttl`, `cap`), so that a backend's own audit
//! trigger can say which rule deleted a row: `current_setting('snapshot_lifecycle.rule', true)`.

mod connection;
mod database;
mod error;
#[cfg(feature = "worker")]
mod inspection;
#[cfg(feature = "worker")]
mod interval;
mod limits;
#[cfg(feature = "worker")]
mod outbox;
#[cfg(feature = "worker")]
mod passes;
#[cfg(feature = "worker")]
mod pause;
mod retention;
#[cfg(feature = "worker")]
mod rules;
#[cfg(feature = "worker")]
mod schema;
mod snapshots;
mod statement;
mod transaction;

pub use connection::connect::ConnectFailure;
pub use database::Database;
pub use error::{StorageError, Verdict};
pub use limits::Limits;
pub use snapshots::cursor::{Cursor, InvalidCursor};
pub use snapshots::model::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata};
pub use snapshots::store::SnapshotStore;
pub use snapshots::store_error::StoreError;

#[cfg(feature = "worker")]
pub use self::{
    inspection::connection::Encryption,
    inspection::foreign_keys::ForeignKey,
    inspection::indexes::{Index, RequiredIndex, Work},
    inspection::pooling::Pooling,
    inspection::protection::TableProtection,
    inspection::server::ServerFacts,
    inspection::vacuum::VacuumState,
    outbox::install::{OutboxError, OutboxSource},
    outbox::installed::{OutboxColumns, OutboxTrigger},
    outbox::records::{OutboxBacklog, OutboxRecord},
    outbox::signal::OutboxSignal,
    passes::backlog::Backlog,
    passes::lease::{HeldLease, LeaseAttempt, LeaseName, outbox_lease},
    pause::state::{Pause, pause_of},
    retention::restamp::{Restamp, RestampBatch},
    retention::settings::{RowsOfType, TypeRetention},
    rules::cap::{CapPlace, Excess, OverfullTeam, TeamPage},
    rules::delete_batch::{DeleteBatch, NextRow},
    rules::event_end::{EventCount, EventEndOutcome, TypeCount},
    rules::event_steps::{EventSteps, StepsOutcome},
    rules::step_size::StepSize,
    rules::ttl::{Expired, TtlPlace},
    schema::access::AccessError,
    schema::migrate::AppliedMigration,
    schema::migrate_error::MigrateError,
    schema::migration_report::MigrationReport,
    schema::migrations::MigrationState,
    schema::table_shape::Misshape,
    snapshots::import::NewRow,
    snapshots::stored::StoredSnapshot,
};
