//! From the backend's events table to the broker: what the trigger has recorded is published with confirms and then removed.
//!
//! ```text
//! backend: UPDATE events SET status … -> trigger -> snapshot_lifecycle.outbox   in the backend's own transaction
//!      -> Relay (one replica holds the lease) -> confirmed publish -> removed
//! ```
//!
//! At least once: a relay that dies between the confirm and the removal leaves the record for another, and a message that
//! is applied twice changes nothing. In order within an event: of each event one record is on its way at a time, and none
//! after one that failed.

mod publish;
mod relay;
mod report;
mod status;
mod table_name;
mod uninstall;
mod walk;

pub use relay::Relay;
pub use status::OutboxStatus;
pub use table_name::TableName;
pub use uninstall::{Uninstall, UninstallError};
