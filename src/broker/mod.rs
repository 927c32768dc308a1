//! RabbitMQ, the only room that names lapin: connections, topology, consumer, publisher, dead letters.
//!
//! lapin's automatic recovery is off. A connection is an epoch: when anything about it ends, everything that hangs on it
//! (channel, deliveries, their acknowledgements) is dropped, the broker delivers again what was not acknowledged, and the
//! supervisor in `pipeline` begins the next epoch. Consuming and publishing have a connection each, because RabbitMQ
//! blocks a connection that publishes during a memory or disk alarm, and lapin then writes nothing on it any more, not
//! even acknowledgements.

mod address;
mod connection;
mod consumer;
mod dead_letter;
mod dead_letter_queue;
mod delivery;
mod error;
mod exported_letter;
mod filtered_stream;
mod frame_repair;
mod greeting;
mod headers;
mod inspection;
mod letter;
mod outgoing;
mod publish_stream;
mod publisher;
mod queues;
mod replay;
mod status_publisher;
mod topology;

pub use address::BrokerAddress;
pub use connection::ConnectFailure;
pub use consumer::{Subscription, Taken};
pub use dead_letter::DeadLetter;
pub use dead_letter_queue::{DeadLetterQueue, HeldLetter};
pub use delivery::Delivery;
pub use error::BrokerError;
pub use exported_letter::ExportedLetter;
pub use greeting::{Greeting, greeting};
pub use inspection::{Compared, ComparedQueue, Inspection, QueueState};
pub use letter::{dead_letter, wait_for_retry};
pub use outgoing::Outgoing;
pub use publish_stream::{PublishStream, Published};
pub use publisher::{PublishError, Publisher};
pub use queues::{QueueDepths, QueueWatch};
pub use status_publisher::StatusPublisher;
pub use topology::Topology;
pub(crate) use topology::{TOPIC_NEEDED, routes_by_whole_keys};
