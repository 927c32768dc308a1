use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};

use super::names::Topology;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, close_channel, connect, open_channel};
use crate::broker::error::BrokerError;

/// Messages ready in the queues, without the unacknowledged ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepths {
    /// The work queue.
    pub queue: u32,
    /// The dead-letter queue.
    pub dead_letters: u32,
    /// The wait queues together; `None` where one of them is missing or may not be inspected.
    pub waiting: Option<u32>,
}

/// A connection for reading the queues' depths, made at first use and again after a failure.
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
    ///
    /// # Errors
    /// When the broker cannot be reached, or the work queue or the dead-letter queue is missing.
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
        // Asking for a wait queue that does not exist has closed it already.
        if channel.status().connected() {
            close_channel(&channel).await?;
        }
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

/// Retry copies whose delay is not over. RabbitMQ does not show over AMQP those whose delay is over but which the full work queue did
/// not take (`rabbitmqctl list_queues name messages messages_ready` does).
pub(in crate::broker) async fn waiting(channel: &Channel, topology: &Topology) -> Result<u32, BrokerError> {
    let mut waiting = 0;
    for queue in topology.wait_queues() {
        waiting += depth(channel, &queue).await?;
    }
    Ok(waiting)
}

/// Messages ready in a queue.
pub(in crate::broker) async fn depth(channel: &Channel, queue: &str) -> Result<u32, BrokerError> {
    // passive: asks, never creates.
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declaring = channel.queue_declare(queue.into(), options, FieldTable::default());
    Ok(answer("count a queue's messages", declaring).await?.message_count())
}
