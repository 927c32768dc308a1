//! Keeps the `snapshots` table of a venue-booking backend clean. The binary `snapshot-lifecycle` is a worker beside the
//! backend. This library is what the worker is made of, and what Rust programs need that talk to it:
//!
//! - [`StatusMessage`] is one status change of an event, [`StatusPublisher`] publishes it, confirmed;
//! - [`SnapshotStore`] creates, reads and deletes snapshots, each call within one team.
//!
//! # Depend on it
//!
//! It is in no registry. By git, or by path from a clone, with the features that the program uses:
//!
//! ```toml
//! [dependencies]
//! snapshot-lifecycle = { git = "https://…/snapshot-lifecycle", default-features = false, features = ["publisher", "store"] }
//! ```
//!
//! | feature | has | builds |
//! |---|---|---|
//! | none | [`StatusMessage`] | serde, serde_json, thiserror, time, uuid |
//! | `publisher` | and [`StatusPublisher`] | lapin, no sqlx |
//! | `store` | and [`SnapshotStore`] | sqlx, no lapin |
//! | `worker`, the default | everything, with the binary | both, clap, axum and more |
//!
//! What this page shows is stable: it changes only with a line in the changelog. So are the types of other crates in it, by the major
//! version: `Uuid` of uuid 1, `OffsetDateTime` of time 0.3, `Value` of serde_json 1, `Serialize` and `Deserialize` of serde 1, and `PgPool` of
//! sqlx 0.9, which only a program names that brings its own pool. Modules that this page does not show are for the binary and the tests, and
//! change at any time.
//!
//! # Use it
//!
//! In the handler of a web server: the snapshot is stored, the status is published, and a failure says whether to try again.
//!
//! ```no_run
//! # #[cfg(all(feature = "publisher", feature = "store"))]
//! # mod example {
//! use serde_json::json;
//! use snapshot_lifecycle::{EventStatus, NewSnapshot, PublishError, SnapshotStore, StatusMessage, StatusPublisher, StoreError};
//! use time::OffsetDateTime;
//! use uuid::Uuid;
//!
//! /// Cheap to clone, one for the program.
//! #[derive(Debug, Clone)]
//! struct App {
//!     store: SnapshotStore,
//!     publisher: StatusPublisher,
//! }
//!
//! enum Answer {
//!     Done,
//!     BadRequest,
//!     TryAgainLater,
//!     Broken,
//! }
//!
//! impl App {
//!     async fn offer(&self, team: Uuid, event: Uuid, total: u32) -> Result<Uuid, Answer> {
//!         let offer = NewSnapshot::new("offer", json!({ "total": total })).with_event_id(event);
//!         match self.store.create(team, &offer).await {
//!             Ok(created) => Ok(created.id),
//!             Err(StoreError::UnknownTeamOrEvent(_) | StoreError::InvalidInput(_)) => Err(Answer::BadRequest),
//!             Err(error) if error.is_transient() => Err(Answer::TryAgainLater),
//!             Err(error) => {
//!                 eprintln!("could not store the offer: {}", error.one_line()); // with its causes
//!                 Err(Answer::Broken)
//!             }
//!         }
//!     }
//!
//!     async fn confirm(&self, team: Uuid, event: Uuid) -> Answer {
//!         let confirmed = StatusMessage::new(event, EventStatus::Confirmed, OffsetDateTime::now_utc()).with_team_id(team);
//!         match self.publisher.publish(&confirmed).await {
//!             Ok(()) => Answer::Done,
//!             // May be in the queue or not. The same message again does no harm.
//!             Err(PublishError::Unconfirmed(_)) => Answer::TryAgainLater,
//!             Err(_) => Answer::Broken,
//!         }
//!     }
//!
//!     /// At the end of the program.
//!     async fn close(&self) {
//!         self.publisher.close().await;
//!         self.store.close().await;
//!     }
//! }
//! # }
//! ```
//!
//! # Test against it
//!
//! The library has no fake of its own: what can go wrong is in the servers. `deploy/dev up` starts a private PostgreSQL and RabbitMQ with a
//! worker and prints their URLs; `snapshot-lifecycle migrate` makes the tables in any database that has `teams` and `events`. For tests
//! without servers, put a trait of the program's own in front, with the calls that it makes:
//!
//! ```
//! # #[cfg(feature = "publisher")]
//! # mod example {
//! use snapshot_lifecycle::{EventStatus, PublishError, StatusMessage, StatusPublisher};
//! use std::sync::Mutex;
//!
//! trait Publishes {
//!     fn publish(&self, message: &StatusMessage) -> impl Future<Output = Result<(), PublishError>> + Send;
//! }
//!
//! impl Publishes for StatusPublisher {
//!     fn publish(&self, message: &StatusMessage) -> impl Future<Output = Result<(), PublishError>> + Send {
//!         StatusPublisher::publish(self, message)
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Recorded(Mutex<Vec<StatusMessage>>);
//!
//! impl Publishes for Recorded {
//!     async fn publish(&self, message: &StatusMessage) -> Result<(), PublishError> {
//!         // What the worker would dead-letter is a failure of the test.
//!         StatusMessage::from_json(&message.to_json()?)?;
//!         self.0.lock().unwrap().push(message.clone());
//!         Ok(())
//!     }
//! }
//! # }
//! ```
//!
//! # The map
//!
//! A status message, from RabbitMQ to deleted rows:
//!
//! ```text
//! RabbitMQ -> broker::Subscription   a batch of deliveries
//!          -> pipeline::intake       bytes -> StatusMessage | Reject;  decide -> Delete | Ignore
//!          -> pipeline::apply        one transaction; an outage holds the batch, a poison message is found and set apart
//!          -> pipeline::outcome      one outcome for each delivery, a total match;  pipeline::settle carries it out
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
//! | `publication` | a status message by hand, or a file of them, to the broker |
//! | `monitor` | polls both servers for readiness and gauges |
//! | `doctor` | what can be wrong with a deployment, each with its fix |
//! | `http` | health and metrics |
//! | `cli` | one file per command; `run` is the only place where everything is put together |
//! | `terminal` | text laid out for a terminal, and the progress bar |
//! | `telemetry` | logs, metrics, traces, health |
//! | `config` | flags and environment variables, one file per topic |
//! | `lifecycle` | signals, soft and hard stop, tracked tasks |
//! | `heartbeat` `watchdog` | whether the loops turn; tells systemd and the log |
//! | `setting` | arguments that cannot be used, by name |
//! | `backoff` `clock` `closed_set` `network` | growing delays; the only `now()`; enums of names; the first address that answers |
//!
//! Imports lead down, from `cli` to `message` and the small modules below it, and never in a circle; `tests/structure` checks it.
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
//! | lease | the row that lets one replica at a time do a pass, publish the outbox or migrate, until it ends or expires |
//! | delete budget | the rows per second that all passes of all replicas may delete together |
//! | trace context | where a message comes from in a trace, as its headers `traceparent` and `tracestate` say |
//! | pause | an operator's stop of sweeps, evictions or consuming for the whole fleet |
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
mod heartbeat;
#[cfg(feature = "worker")]
mod http;
#[cfg(feature = "worker")]
mod import;
#[cfg(feature = "worker")]
mod outbox;
#[cfg(feature = "worker")]
mod publication;
#[cfg(feature = "worker")]
mod terminal;
#[cfg(feature = "worker")]
mod watchdog;

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
pub use message::{
    EventStatus, InvalidStatusMessage, InvalidTraceContext, Reason, StatusMessage, TraceContext, UnknownStatus,
};
pub use setting::{ConfigError, Setting};
#[cfg(feature = "store")]
pub use storage::{
    Cursor, InvalidCursor, NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, SnapshotStore, StorageError,
    StoreError,
};
