//! What can be wrong with a deployment, one check after the other, each with its mend. Changes nothing: the database is asked in
//! read-only transactions, the broker by requests that leave nothing behind ([`broker::Inspection`](crate::broker::Inspection)).
//!
//! A check that cannot be made because something before it failed is skipped and says so. A server that stops answering
//! half-way ends the checks of that server.

mod checks;
mod database;
mod finding;
mod rabbitmq;

pub use database::{Patience, examine_database};
pub use finding::{Finding, State};
pub use rabbitmq::{BrokerExpectations, examine_rabbitmq};
