use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};

use super::delivery::Delivery;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::names::Topology;

/// Deliveries of a message from which on it is suspected of crashing whoever takes it. Far from the limit, and more than a few
/// restarts.
const SUSPECT_FROM: u32 = 5;

/// One connection that consumes: everything that was delivered on it belongs to it and ends with it.
///
/// A crash counts as a delivery for all that the worker held, which is a whole prefetch. So that a message that crashes worker after
/// worker takes no neighbour with it to the delivery limit, a subscription begins with one message at a time, and goes on so while what
/// comes is suspect: what was returned comes first.
pub struct Subscription {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    queue: String,
    prefetch: u16,
    /// One message at a time.
    careful: bool,
    /// What was taken last is beyond suspicion.
    clean: bool,
    /// What the first consumer had received when it was cancelled: to be handed out before anything else, because an acknowledgement of
    /// several covers it.
    left: Vec<Delivery>,
    /// The end, when it was met behind deliveries that had to be returned first. lapin tells of a cancel only once.
    ended: Option<Taken>,
}

/// What a look at the subscription brought.
pub enum Taken {
    /// What had arrived, at least one message.
    Batch(Vec<Delivery>),
    /// The subscription has ended: connection or channel lost (with the error), or cancelled by the broker because the
    /// queue was deleted or the like (without one).
    Ended(Option<BrokerError>),
}

impl Subscription {
    /// Connects, ensures the topology and starts to consume.
    pub async fn open(address: &BrokerAddress, topology: &Topology, prefetch: u16) -> Result<Self, BrokerError> {
        let connection = connect(address, "consumer").await?;
        match Self::start(&connection, topology).await {
            Ok((channel, consumer)) => Ok(Self {
                connection,
                channel,
                consumer,
                queue: topology.queue().to_owned(),
                prefetch,
                careful: true,
                clean: false,
                left: Vec::new(),
                ended: None,
            }),
            Err(error) => {
                close(&connection).await;
                Err(error)
            }
        }
    }

    async fn start(connection: &Connection, topology: &Topology) -> Result<(Channel, Consumer), BrokerError> {
        topology.ensure(connection).await?;
        let channel = open_channel(connection).await?;
        let consumer = consume(&channel, topology.queue(), 1).await?;
        Ok((channel, consumer))
    }

    /// To be called when a batch is settled: goes over to a whole prefetch, once what came is beyond suspicion. So is one that is
    /// `waiting` for its letter to be placed: it has crashed nobody. Not to be dropped half-way, which would leave a consumer that
    /// nobody listens to.
    pub async fn widen(&mut self, waiting: bool) -> Result<(), BrokerError> {
        if !self.careful || !(self.clean || waiting) {
            return Ok(());
        }
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        answer("take more at a time", cancelled).await?;
        while let Some(Some(Ok(delivery))) = self.consumer.next().now_or_never() {
            self.left.push(Delivery::from_lapin(delivery));
        }
        self.consumer = consume(&self.channel, &self.queue, self.prefetch).await?;
        self.careful = false;
        Ok(())
    }

    /// Waits for a message, then takes with it whatever else has arrived, at most `most`; never waits for more.
    ///
    /// Cancel-safe: a message is taken only with the batch it is returned in.
    pub async fn take(&mut self, most: usize) -> Taken {
        if let Some(end) = self.ended.take() {
            return end;
        }
        if !self.left.is_empty() {
            return Taken::Batch(std::mem::take(&mut self.left));
        }
        let first = match self.consumer.next().await {
            Some(Ok(delivery)) => Delivery::from_lapin(delivery),
            Some(Err(error)) => return Taken::Ended(Some(BrokerError::during("consume")(error))),
            None => return Taken::Ended(None),
        };
        self.clean = first.deliveries() < SUSPECT_FROM;
        let mut batch = vec![first];
        while batch.len() < most {
            match self.consumer.next().now_or_never() {
                Some(Some(Ok(delivery))) => batch.push(Delivery::from_lapin(delivery)),
                Some(Some(Err(error))) => self.ended = Some(Taken::Ended(Some(BrokerError::during("consume")(error)))),
                Some(None) => self.ended = Some(Taken::Ended(None)),
                None => break,
            }
            if self.ended.is_some() {
                break;
            }
        }
        Taken::Batch(batch)
    }

    /// Whether the channel still stands, so that an acknowledgement can reach the broker.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.channel.status().connected()
    }

    /// Ends the subscription: takes nothing more, gives everything unsettled back to the queue, closes.
    pub async fn end(self) {
        if self.is_alive() {
            let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
            answer("cancel the consumer", cancelled).await.ok();
            // Tag 0 and multiple: all that is outstanding on the channel, the part still in lapin's buffer included. nack,
            // because from 4.3 on it is not counted towards the delivery limit, as closing would be.
            let options = BasicNackOptions { multiple: true, requeue: true };
            answer("give messages back", self.channel.basic_nack(0, options)).await.ok();
        }
        close(&self.connection).await;
    }
}

/// One consumer at a time takes on a channel: an acknowledgement of several covers the whole channel.
async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer, BrokerError> {
    // Before consuming, because lapin keeps deliveries in an unbounded buffer: this is the memory bound. Not global:
    // quorum queues refuse that.
    answer("set the prefetch", channel.basic_qos(prefetch, BasicQosOptions { global: false })).await?;
    // no_ack false: acknowledged after the commit. exclusive false: replicas share the queue. The broker names the consumer.
    let options = BasicConsumeOptions { no_ack: false, exclusive: false, ..Default::default() };
    answer("consume", channel.basic_consume(queue.into(), "".into(), options, FieldTable::default())).await
}
