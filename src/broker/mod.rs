//! RabbitMQ, the only module that names lapin: connections, topology, consumer, publisher, dead letters.
//!
//! lapin's automatic recovery is off. A connection is an epoch: when anything about it ends, everything that hangs on it
//! (channel, deliveries, their acknowledgements) is dropped, the broker delivers again what was not acknowledged, and the
//! supervisor in `pipeline` begins the next epoch. Consuming and publishing have a connection each, because RabbitMQ
//! blocks a connection that publishes during a memory or disk alarm, and lapin then writes nothing on it any more, not
//! even acknowledgements.

mod connection;
mod consume;
mod dead_letters;
mod error;
mod headers;
mod inspection;
mod publish;
mod topology;

pub use connection::address::BrokerAddress;
pub use connection::connect::ConnectFailure;
pub use connection::greeting::{Greeting, greeting};
pub use consume::delivery::{ChannelGone, Delivery};
pub use consume::subscription::{Subscription, SubscriptionEnd};
pub use dead_letters::export::ExportedLetter;
pub use dead_letters::queue::{DeadLetterQueue, HeldLetter};
pub use dead_letters::read::DeadLetter;
pub use error::BrokerError;
pub use inspection::compare::{Compared, ComparedQueue, Inspection, QueueState};
pub use publish::error::PublishError;
pub use publish::outgoing::Outgoing;
pub use publish::publisher::Publisher;
pub use publish::republish::{dead_letter, wait_for_retry};
pub use publish::status_publisher::StatusPublisher;
pub use publish::stream::{PublishReport, PublishStream};
pub use topology::depth::{QueueDepths, QueueWatch};
pub use topology::names::Topology;
pub(crate) use topology::names::{TOPIC_NEEDED, routes_by_whole_keys};
