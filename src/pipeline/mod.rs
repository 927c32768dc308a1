//! The way of one delivery: intake, batch, apply, settle.
//!
//! Every delivery gets exactly one fate (`settle::Fate`), and none before its work is committed or its letter confirmed.
//! What is in hand never exceeds the prefetch. Nothing outlives an epoch (one subscription): when it ends, deliveries are
//! dropped and the broker gives them to somebody again; every step may therefore happen twice, and does no harm then.
//!
//! During an outage of the database a batch is held in hand, which costs it nothing, for up to a minute; after that
//! everything goes back to the queue, which costs each message in hand one delivery, and nothing is taken until the database
//! takes deletes again. So an outage of any length costs a message one delivery of its limit.
//!
//! Whether an error is an outage is told by whether other deletes pass (`apply::is_outage`, `suspects`). An event that is slow, or of
//! which some rows cannot go, is done in steps after the others (`slow`).

mod apply;
mod intake;
mod key;
mod republish;
mod session;
mod settle;
mod slow_events;
mod supervisor;
mod suspects;

pub use supervisor::{HOLD_AT_MOST, Pipeline, PipelineOptions};
