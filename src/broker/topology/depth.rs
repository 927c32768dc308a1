//! How deep the queues are.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};

use super::names::Topology;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;

/// Messages ready in the queues, without those in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepths {
    /// The work queue.
    pub queue: u32,
    /// The dead-letter queue.
    pub dead_letters: u32,
    /// The wait queues together; `None` where one of them cannot be looked at.
    pub waiting: Option<u32>,
}

/// A connection for looking, made at first use and again after a failure.
pub struct QueueWatch {
    address: BrokerAddress,
    connection: Option<Connection>,
}

impl QueueWatch {
    /// Does not connect yet.
    #[must_use]
    pub const fn new(address: BrokerAddress) -> Self {
        Self { address, connection: None }
    }

    /// The depths of the queues.
    pub async fn depths(&mut self, topology: &Topology) -> Result<QueueDepths, BrokerError> {
        let connection = match self.connection.take().filter(|connection| connection.status().connected()) {
            Some(connection) => connection,
            None => connect(&self.address, "watch").await?,
        };
        let channel = open_channel(&connection).await?;
        let depths = QueueDepths {
            queue: depth(&channel, topology.queue()).await?,
            dead_letters: depth(&channel, &topology.dead_letter_queue()).await?,
            waiting: waiting(&channel, topology).await.ok(),
        };
        close_channel(&channel).await?;
        self.connection = Some(connection);
        Ok(depths)
    }

    /// Closes the connection, if there is one.
    pub async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            close(&connection).await;
        }
    }
}

/// A look at a queue that does not exist has closed it already.
async fn close_channel(channel: &Channel) -> Result<(), BrokerError> {
    if channel.status().connected() {
        answer("close a channel", channel.close(200, "done".into())).await?;
    }
    Ok(())
}

/// Messages that failed and wait for another attempt. Of what has waited for its time and could not be moved to the work queue since,
/// because that was full, RabbitMQ tells nothing over AMQP (`rabbitmqctl list_queues name messages messages_ready` does).
pub(in crate::broker) async fn waiting(channel: &Channel, topology: &Topology) -> Result<u32, BrokerError> {
    let mut waiting = 0;
    for queue in topology.wait_queues() {
        waiting += depth(channel, &queue).await?;
    }
    Ok(waiting)
}

pub(in crate::broker) async fn depth(channel: &Channel, queue: &str) -> Result<u32, BrokerError> {
    // passive: asks, never makes.
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared =
        answer("look at a queue", channel.queue_declare(queue.into(), options, FieldTable::default())).await?;
    Ok(declared.message_count())
}
