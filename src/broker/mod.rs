//! RabbitMQ: the only module that names lapin.
//!
//! ```text
//! dead_letters, inspection   what the dlq commands and doctor ask
//! publish                    messages out, each confirmed; dead letters and retry copies of deliveries
//! consume                    messages in, and their acknowledgement
//! topology                   exchanges and queues
//! connection                 address, TLS, login, repair of inbound frames
//! error, reply, headers      what the broker answers, what a message carries
//! table_json                 a table of AMQP's as JSON
//! ```
//!
//! Each line uses those below it. lapin's automatic recovery is off: when anything about a connection ends, everything that belongs to
//! it (channels, deliveries, acknowledgements) is dropped, the broker delivers again what was unacknowledged, and the supervisor in
//! `pipeline` opens the next one. Consuming and publishing have a connection each, because RabbitMQ blocks a connection that publishes
//! during a memory or disk alarm, and lapin then writes nothing on it any more, not even acknowledgements.

mod connect_failure;
mod connection;
#[cfg(feature = "worker")]
mod consume;
#[cfg(feature = "worker")]
mod dead_letters;
mod error;
mod headers;
#[cfg(feature = "worker")]
mod inspection;
mod publish;
mod reply;
#[cfg(feature = "worker")]
mod table_json;
#[cfg(feature = "worker")]
mod topology;

pub use connect_failure::BrokerConnectFailure;
pub use connection::address::BrokerAddress;
pub use error::BrokerError;
pub use publish::error::PublishError;
pub use publish::outgoing::Outgoing;
pub use publish::publisher::Publisher;
pub use publish::status_publisher::StatusPublisher;

#[cfg(feature = "worker")]
pub(crate) use self::topology::declare::{TOPIC_NEEDED, is_direct_exchange};
#[cfg(feature = "worker")]
pub use self::{
    connection::greeting::{Greeting, greeting},
    consume::delivery::{ChannelGone, Delivery},
    consume::subscription::{Subscription, SubscriptionEnd},
    dead_letters::export::ExportedLetter,
    dead_letters::held_letter::HeldLetter,
    dead_letters::queue::DeadLetterQueue,
    dead_letters::read::DeadLetter,
    inspection::compare::Comparison,
    inspection::inspect::{Inspection, QueueState},
    publish::republish::{dead_letter, retry_copy},
    publish::stream::{PublishReport, PublishStream},
    topology::definitions::Definitions,
    topology::depth::{QueueDepths, QueueWatch},
    topology::ensure::restore_topology,
    topology::names::Topology,
};
