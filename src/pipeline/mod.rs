//! The way of one delivery: intake, apply, settle.
//!
//! ```text
//! supervisor: waits for both servers, opens a session, begins again with a growing delay when that ends
//! session: one subscription, from its first message to its end
//!   batch          what has arrived, as one value; goes through these steps, and back to apply while some of it is held:
//!     intake       bytes -> Request: end an event, ignore, reject                      never fails
//!     apply        event ends -> EndOutcome each, one transaction or narrowed down     never fails
//!     settle       Request and EndOutcome -> DeliveryOutcome (outcome), carried out:
//!       republish      retry copy or dead letter, until the broker confirms it
//!       acknowledger   the acknowledgement, and the rule of which one may cover several
//!   slow_events    events that take long, in slices between the batches
//! ```
//!
//! Every delivery gets exactly one outcome, and none before its delete is committed or its copy confirmed. Unacknowledged messages
//! never exceed the prefetch. Nothing outlives a session: when it ends, its deliveries are dropped and the broker delivers them again. So
//! every step may happen twice, and does no harm then.
//!
//! During an outage of the database a batch is held unacknowledged, which costs its messages nothing, for up to a minute. After that everything
//! goes back to the queue, which costs each unacknowledged message one delivery, and nothing is consumed until the database takes deletes
//! again. So an outage of any length costs a message one delivery of its limit.
//!
//! An operator's pause ends the session in the same way: what is unacknowledged goes back to the queue, and no subscription is open until the
//! pause ends. It is noticed by the monitor within seconds, or before by the transaction that would have deleted.
//!
//! Whether an error is an outage is decided by whether other deletes succeed (`outage`, `suspects`).

mod acknowledger;
mod apply;
mod batch;
mod intake;
mod key;
mod outage;
mod outcome;
mod republish;
mod session;
mod settle;
mod slow_events;
mod supervisor;
mod suspects;

pub use supervisor::{HOLD_AT_MOST, Pipeline, PipelineOptions};
