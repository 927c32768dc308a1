//! From the host's events table to the broker: what the trigger has recorded is published with confirms and then removed.
//!
//! ```text
//! host: UPDATE events SET status … -> trigger -> snapshot_lifecycle.outbox   in the host's own transaction
//!      -> Relay (one replica holds the lease) -> confirmed publish -> removed
//! ```
//!
//! At least once: a relay that dies between the confirm and the removal leaves the record for another, and the rules take
//! a message twice without harm. In order within an event: of each event one record is on its way at a time, and none
//! after one that failed.

mod relay;

pub use relay::Relay;
