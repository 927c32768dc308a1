//! Keeps the `snapshots` table of a venue-booking backend clean. The binary `snapshot-lifecycle` is a worker beside the
//! backend; this library is its inside, and what Rust programs that talk to it need.
//!
//! # The map
//!
//! A status message, from RabbitMQ to deleted rows:
//!
//! ```text
//! RabbitMQ -> broker::Subscription -> pipeline::intake   bytes -> StatusMessage | Reject;  decide -> Delete | Ignore
//!          -> pipeline::apply      one transaction; outage: hold; one bad message: narrow down to it
//!          -> pipeline::settle     what became of it -> its one fate, a total match
//!          -> broker               acknowledged after COMMIT only; dead letter = confirmed publish, then acknowledged
//! ```
//!
//! A pass over the whole table:
//!
//! ```text
//! passes::Schedule (interval + jitter) -> lease (one in the fleet, database clock)
//!          -> passes::Pass         short transactions; the delete budget is waited for outside of them
//!          -> Report -> metrics, one log line
//! ```
//!
//! | room | |
//! |---|---|
//! | [`message`] | what came in: bytes to [`StatusMessage`] or [`message::Reject`] (pure) |
//! | [`policy`] | what to do about it (pure) |
//! | [`broker`] | RabbitMQ, the only room that names lapin |
//! | [`storage`] | PostgreSQL, the only room that names sqlx |
//! | [`pipeline`] | the way of one delivery |
//! | [`passes`] | the two passes |
//! | [`outbox`] | the host's events table to the broker |
//! | [`dead_letters`] | browse, replay, save and remove dead letters |
//! | [`import`] | a local JSON store to snapshots |
//! | [`publish_file`] | a file of status messages to the broker |
//! | [`http`] | health and metrics |
//! | [`doctor`] | what can be wrong with a deployment, each with its mend |
//! | [`monitor`] | looks at the servers for readiness and gauges |
//! | [`terminal`] | text laid out for a terminal (pure) |
//! | [`config`], [`telemetry`], [`clock`], [`backoff`], [`network`], [`lifecycle`] | leaves |
//! | [`cli`] | one file a command; `run` is the only place where everything is put together |

pub mod backoff;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dead_letters;
pub mod doctor;
pub mod http;
pub mod import;
pub mod lifecycle;
pub mod message;
pub mod monitor;
pub mod network;
pub mod outbox;
pub mod passes;
pub mod pipeline;
pub mod policy;
pub mod publish_file;
pub mod storage;
pub mod telemetry;
pub mod terminal;

pub use broker::{PublishError, StatusPublisher};
pub use message::{EventStatus, InvalidStatusMessage, StatusMessage};
pub use storage::{NewSnapshot, Snapshot, SnapshotFilter, SnapshotMetadata, SnapshotStore, StoreError};
