//! RabbitMQ: the only module that names lapin.
//!
//! ```text
//! dead_letters, inspection   what the dlq commands and doctor ask
//! publish                    messages out, each confirmed; dead letters and retry copies of deliveries
//! consume                    messages in, and their acknowledgement
//! topology                   exchanges and queues
//! connection                 address, TLS, login, repair of inbound frames
//! error, reply, headers      what the broker answers, what a message carries
//! ```
//!
//! Each line uses those below it. lapin's automatic recovery is off: when anything about a connection ends, everything that belongs to
//! it (channels, deliveries, acknowledgements) is dropped, the broker delivers again what was unacknowledged, and the supervisor in
//! `pipeline` opens the next one. Consuming and publishing have a connection each, because RabbitMQ blocks a connection that publishes
//! during a memory or disk alarm, and lapin then writes nothing on it any more, not even acknowledgements.

mod connect_failure;
mod connection;
mod consume;
mod dead_letters;
mod error;
mod headers;
mod inspection;
mod publish;
mod reply;
mod topology;

pub use connect_failure::ConnectFailure;
pub use connection::address::BrokerAddress;
pub use connection::greeting::{Greeting, greeting};
pub use consume::delivery::{ChannelGone, Delivery};
pub use consume::subscription::{Subscription, SubscriptionEnd};
pub use dead_letters::export::ExportedLetter;
pub use dead_letters::held_letter::HeldLetter;
pub use dead_letters::queue::DeadLetterQueue;
pub use dead_letters::read::DeadLetter;
pub use error::BrokerError;
pub use inspection::compare::Comparison;
pub use inspection::inspect::{Inspection, QueueState};
pub use publish::error::PublishError;
pub use publish::outgoing::Outgoing;
pub use publish::publisher::Publisher;
pub use publish::republish::{dead_letter, retry_copy};
pub use publish::status_publisher::StatusPublisher;
pub use publish::stream::{PublishReport, PublishStream};
pub(crate) use topology::declare::{TOPIC_NEEDED, is_direct_exchange};
pub use topology::depth::{QueueDepths, QueueWatch};
pub use topology::ensure::restore_topology;
pub use topology::names::Topology;
