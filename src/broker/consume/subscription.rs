use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};

use super::delivery::Delivery;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::ensure::ensure;
use crate::broker::topology::names::Topology;

/// Deliveries of one message from which on it is suspected of crashing its worker: far below the delivery limit, and more than a few
/// restarts cause.
const SUSPECT_FROM: u32 = 5;

/// A connection that consumes. Everything that was delivered on it ends with it.
///
/// A crash counts as a delivery for every message that the worker held, which is up to a whole prefetch. A message that crashes one
/// worker after another must not take its neighbours with it to the delivery limit. So a subscription begins with one message at a
/// time, and stays there while what comes is suspect; the broker delivers returned messages first.
pub struct Subscription {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    queue: String,
    prefetch: u16,
    /// The prefetch is still 1.
    one_at_a_time: bool,
    /// The last delivery is not suspected of a crash.
    unsuspicious: bool,
    /// What the first consumer had received when it was cancelled. Returned before anything else, because an acknowledgement with
    /// `multiple` covers it.
    left: Vec<Delivery>,
    /// The end, met behind deliveries that had to be returned first: lapin reports a cancel only once.
    end: Option<SubscriptionEnd>,
}

/// Why a subscription has ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionEnd {
    /// The broker has cancelled the consumer, because the queue was deleted or the like.
    #[error("cancelled by the broker")]
    Cancelled,
    /// The connection or the channel is lost.
    #[error("{}", .0.one_line())]
    Lost(BrokerError),
}

impl Subscription {
    /// Connects, declares or verifies the topology, and starts to consume.
    ///
    /// # Errors
    /// When the broker cannot be reached, refuses the login, or lacks a part of the topology.
    pub async fn open(address: &BrokerAddress, topology: &Topology, prefetch: u16) -> Result<Self, BrokerError> {
        let connection = connect(address, "consumer").await?;
        match Self::start(&connection, topology).await {
            Ok((channel, consumer)) => Ok(Self {
                connection,
                channel,
                consumer,
                queue: topology.queue().to_owned(),
                prefetch,
                one_at_a_time: true,
                unsuspicious: false,
                left: Vec::new(),
                end: None,
            }),
            Err(error) => {
                close(&connection).await;
                Err(error)
            }
        }
    }

    async fn start(connection: &Connection, topology: &Topology) -> Result<(Channel, Consumer), BrokerError> {
        ensure(topology, connection).await?;
        let channel = open_channel(connection).await?;
        let consumer = consume(&channel, topology.queue(), 1).await?;
        Ok((channel, consumer))
    }

    /// Call this after each settled batch. Raises the prefetch from 1 once the last delivery is not suspected of a crash. A message
    /// whose retry copy or dead letter is `waiting` for its confirm has crashed nobody either.
    ///
    /// Not cancel-safe: dropped half-way it leaves a consumer that nobody reads.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn raise_prefetch(&mut self, waiting: bool) -> Result<(), BrokerError> {
        if !self.one_at_a_time || !(self.unsuspicious || waiting) {
            return Ok(());
        }
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        answer("raise the prefetch", cancelled).await?;
        while let Some(Some(Ok(delivery))) = self.consumer.next().now_or_never() {
            self.left.push(Delivery::from_lapin(delivery));
        }
        self.consumer = consume(&self.channel, &self.queue, self.prefetch).await?;
        self.one_at_a_time = false;
        Ok(())
    }

    /// Waits for a message and returns it with whatever else has arrived, at most `max` messages; never waits for more than the first.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the subscription has ended.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Delivery>, SubscriptionEnd> {
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        if !self.left.is_empty() {
            return Ok(std::mem::take(&mut self.left));
        }
        let first = delivery(self.consumer.next().await)?;
        self.unsuspicious = first.deliveries() < SUSPECT_FROM;
        let mut batch = vec![first];
        while batch.len() < max {
            let Some(arrived) = self.consumer.next().now_or_never() else { break };
            match delivery(arrived) {
                Ok(delivery) => batch.push(delivery),
                Err(end) => {
                    self.end = Some(end);
                    break;
                }
            }
        }
        Ok(batch)
    }

    /// Whether the channel is open, so that an acknowledgement can reach the broker.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.channel.status().connected()
    }

    /// Stops consuming, returns everything unacknowledged to the queue, and closes the connection.
    pub async fn close(self) {
        if self.is_alive() {
            let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
            answer("cancel the consumer", cancelled).await.ok();
            // Tag 0 with multiple: everything unacknowledged on the channel, with what is still in lapin's buffer. nack with requeue,
            // because from RabbitMQ 4.3 on it does not count towards the delivery limit, as closing would.
            let options = BasicNackOptions { multiple: true, requeue: true };
            answer("return messages to the queue", self.channel.basic_nack(0, options)).await.ok();
        }
        close(&self.connection).await;
    }
}

fn delivery(arrived: Option<lapin::Result<lapin::message::Delivery>>) -> Result<Delivery, SubscriptionEnd> {
    match arrived {
        Some(Ok(delivery)) => Ok(Delivery::from_lapin(delivery)),
        Some(Err(error)) => Err(SubscriptionEnd::Lost(BrokerError::during("consume")(error))),
        None => Err(SubscriptionEnd::Cancelled),
    }
}

/// Starts a consumer. One at a time reads on a channel, because an acknowledgement with `multiple` covers the whole channel.
async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer, BrokerError> {
    // Before consuming, because lapin keeps deliveries in an unbounded buffer: this is the memory bound. global is false:
    // quorum queues refuse a global prefetch.
    answer("set the prefetch", channel.basic_qos(prefetch, BasicQosOptions { global: false })).await?;
    // The defaults: with acknowledgements, which follow the commit; not exclusive, because replicas share the queue. The broker names
    // the consumer.
    let options = BasicConsumeOptions::default();
    answer("consume", channel.basic_consume(queue.into(), "".into(), options, FieldTable::default())).await
}
