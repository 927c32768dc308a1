//! What can be wrong with a deployment: one check after the other, each with its fix. Changes nothing: the database is asked in
//! read-only transactions, the broker by requests that leave nothing behind ([`broker::Inspection`](crate::broker::Inspection)).
//!
//! Facts come from the inspection modules of `storage` and `broker`; `checks` turns them into verdicts. `DatabaseCheck` and
//! `RabbitmqCheck` are the closed lists of what is checked, and `database.rs` and `rabbitmq.rs` have one line for each.
//!
//! A check that depends on one that failed is skipped, and the report says so. A server that stops answering half-way ends the
//! checks of that server.

mod check_id;
mod checks;
mod database;
mod examine;
mod expectations;
mod finding;
mod rabbitmq;
mod report;

pub use check_id::CheckId;
pub use examine::examine;
