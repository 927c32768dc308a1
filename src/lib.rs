//! Keeps the `snapshots` table of a venue-booking backend clean. The binary `snapshot-lifecycle` is a worker beside the
//! backend. This library is what the worker is made of, and what Rust programs need that talk to it:
//!
//! - [`StatusMessage`] is one status change of an event, [`StatusPublisher`] publishes it, confirmed;
//! - [`SnapshotStore`] creates, reads and deletes snapshots, each call within one team.
//!
//! # Features
//!
//! | feature | has | builds |
//! |---|---|---|
//! | `publisher` | [`StatusMessage`], [`StatusPublisher`] | lapin, no sqlx |
//! | `store` | [`StatusMessage`], [`SnapshotStore`] | sqlx, no lapin |
//! | `worker`, the default | everything, with the binary | both, clap, axum and more |
//!
//! # The map
//!
//! A status message, from RabbitMQ to deleted rows:
//!
//! ```text
//! RabbitMQ -> broker::Subscription   a batch of deliveries
//!          -> pipeline::intake       bytes -> StatusMessage | Reject;  decide -> Delete | Ignore
//!          -> pipeline::apply        one transaction; an outage holds the batch, a poison message is found and set apart
//!          -> pipeline::settle       the outcome of each delivery, a total match
//!          -> broker                 acknowledged after COMMIT only; a dead letter is confirmed first, then acknowledged
//! ```
//!
//! A pass over the whole table:
//!
//! ```text
//! passes::Schedule (interval + jitter) -> lease (one replica at a time, by the database's clock)
//!          -> passes::Pass           short transactions; the delete budget is waited for between them
//!          -> Report                 metrics, one log line
//! ```
//!
//! A status change that the backend only writes into its own table:
//!
//! ```text
//! trigger -> snapshot_lifecycle.outbox -> outbox::Relay (lease, in order) -> broker, confirmed -> deleted from the outbox
//! ```
//!
//! | module | |
//! |---|---|
//! | `message` | bytes to [`StatusMessage`] or a reason to reject them (pure) |
//! | `policy` | what to do about a message, a failure, a type of snapshot (pure) |
//! | `broker` | RabbitMQ, the only module that names lapin |
//! | `storage` | PostgreSQL, the only module that names sqlx |
//! | `pipeline` | one delivery, from the queue to its acknowledgement |
//! | `passes` | every loop over the table, and its dry run |
//! | `outbox` | from the outbox table to the broker |
//! | `dead_letters` | browse, replay, export and purge dead letters |
//! | `import` | from a local JSON store to snapshots |
//! | `publish_file` | from a file of status messages to the broker |
//! | `monitor` | polls both servers for readiness and gauges |
//! | `doctor` | what can be wrong with a deployment, each with its fix |
//! | `http` | health and metrics |
//! | `cli` | one file per command; `run` is the only place where everything is put together |
//! | `terminal` | text laid out for a terminal (pure) |
//! | `telemetry` | logs, metrics, health |
//! | `config` | flags and environment variables, one file per topic |
//! | `lifecycle` | signals, soft and hard stop, tracked tasks |
//! | `setting` | arguments that cannot be used, by name |
//! | `backoff` `clock` `closed_set` `network` | growing delays; the only `now()`; enums of names; the first address that answers |
//!
//! Imports lead down, from `cli` to `message`, and never in a circle; `tests/structure` checks it.
//!
//! # The words
//!
//! | word | |
//! |---|---|
//! | backend | the venue-booking application: it publishes status messages and owns the tables |
//! | snapshot | one row of `public.snapshots` |
//! | status message | one status change of an event, as published by the backend |
//! | delivery | a status message as it arrives from the queue, to be settled exactly once |
//! | batch | the deliveries that are applied in one transaction |
//! | outcome, to settle | what becomes of a delivery; to carry it out: acknowledge, retry, dead-letter |
//! | poison message | a message that fails while others succeed |
//! | retry copy | a message that waits in a wait queue for its next attempt |
//! | dead letter | a message in the dead-letter queue, with its reason |
//! | replay | to publish a dead letter again to where it first came from |
//! | rule | why a snapshot is deleted: event end, TTL or cap; there is no other reason |
//! | pass | one walk over the whole table for one rule |
//! | lease | the row that lets one replica do a pass, until it ends or expires |
//! | delete budget | the rows per second that all passes of all replicas may delete together |
//! | outbox | the table of status changes that wait to be published |

// A program that takes a part of the library compiles whole modules. What only other parts use in them is no mistake there; the
// default, which has all, checks it.
#![cfg_attr(not(feature = "worker"), allow(dead_code, unused_imports, unused_macros))]

#[cfg(any(feature = "publisher", feature = "store"))]
mod backoff;
#[cfg(feature = "publisher")]
mod clock;
mod closed_set;
mod message;
#[cfg(any(feature = "publisher", feature = "store"))]
mod network;
mod setting;

#[cfg(feature = "worker")]
mod dead_letters;
#[cfg(feature = "worker")]
mod doctor;
#[cfg(feature = "worker")]
mod http;
#[cfg(feature = "worker")]
mod import;
#[cfg(feature = "worker")]
mod outbox;
#[cfg(feature = "worker")]
mod publish_file;
#[cfg(feature = "worker")]
mod terminal;

// Not for users of the library: for the binary, and for tests.
#[cfg(feature = "publisher")]
#[doc(hidden)]
pub mod broker;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod config;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod lifecycle;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod monitor;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod passes;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod pipeline;
#[cfg(feature = "store")]
#[doc(hidden)]
pub mod policy;
#[cfg(feature = "store")]
#[doc(hidden)]
pub mod storage;
#[cfg(feature = "worker")]
#[doc(hidden)]
pub mod telemetry;

#[cfg(feature = "publisher")]
pub use broker::{PublishError, StatusPublisher};
pub use message::{EventStatus, InvalidStatusMessage, Reason, StatusMessage, UnknownStatus};
pub use setting::{ConfigError, Setting};
#[cfg(feature = "store")]
pub use storage::{
    Cursor, InvalidCursor, NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, SnapshotStore, StorageError,
    StoreError,
};
