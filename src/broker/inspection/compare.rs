//! What `doctor` wants to know of the broker, found out without changing anything there.
//!
//! AMQP has no words for "show me": a queue's arguments are compared by declaring it once more as it should be, only when it is
//! there already (the broker then agrees or names what differs), and a permission is asked for by a request that the broker
//! checks permissions for and then refuses for another reason. Each request has a channel of its own, since a
//! refusal closes it; the broker's log shows them.

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ExchangeKind};

use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::names::{Topology, declare_queue, exchange_is_there, queue_is_there};

/// A connection for looking.
pub struct Inspection {
    connection: Connection,
    topology: Topology,
}

/// How an exchange or a queue compares with what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// As it should be.
    Same,
    /// Not there.
    Missing,
    /// There, and other: the broker's words, which name what differs.
    Other(String),
    /// There, but the user may not find out more.
    Hidden,
}

/// A queue, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedQueue {
    /// Its name.
    pub name: String,
    /// How it compares.
    pub compared: Compared,
}

/// Messages and consumers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Ready, without those in flight.
    pub messages: u32,
    /// Of all replicas.
    pub consumers: u32,
}

impl Inspection {
    /// Connects.
    pub async fn begin(address: &BrokerAddress, topology: Topology) -> Result<Self, BrokerError> {
        Ok(Self { connection: connect(address, "doctor").await?, topology })
    }

    /// The backend's exchange.
    pub async fn exchange(&self) -> Result<Compared, BrokerError> {
        self.compare_exchange(self.topology.exchange(), ExchangeKind::Topic).await
    }

    /// The worker's own exchanges, by name.
    pub async fn own_exchanges(&self) -> Result<Vec<(String, Compared)>, BrokerError> {
        let mut all = Vec::new();
        for (name, kind) in [
            (self.topology.dead_letter_exchange(), ExchangeKind::Fanout),
            (self.topology.retry_exchange(), ExchangeKind::Direct),
        ] {
            let compared = self.compare_exchange(&name, kind).await?;
            all.push((name, compared));
        }
        Ok(all)
    }

    /// The worker's queues.
    pub async fn queues(&self) -> Result<Vec<ComparedQueue>, BrokerError> {
        let mut all = Vec::new();
        for queue in self.topology.queues() {
            let compared = if queue_is_there(&self.connection, &queue.name).await? {
                compared(declare_queue(&self.connection, &queue).await)?
            } else {
                Compared::Missing
            };
            all.push(ComparedQueue { name: queue.name, compared });
        }
        Ok(all)
    }

    /// How full a queue is, and who consumes; `None` where it is not there or may not be looked at.
    pub async fn state(&self, queue: &str) -> Result<Option<QueueState>, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let looked =
            answer("look at a queue", channel.queue_declare(queue.into(), options, FieldTable::default())).await;
        match looked {
            Ok(queue) => Ok(Some(QueueState { messages: queue.message_count(), consumers: queue.consumer_count() })),
            Err(error) => refusal(error).map(|_| None),
        }
    }

    /// Whether a `dlq` command is at work, which holds letters in its hands.
    pub async fn letters_are_held(&self) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let lock = self.topology.dead_letter_lock();
        let looked = channel.queue_declare(lock.as_str().into(), options, FieldTable::default());
        match answer("look for a dlq command", looked).await {
            Ok(_) => Ok(false),
            Err(error) => refusal(error).map(|(soft, _)| soft == AMQPSoftError::RESOURCELOCKED),
        }
    }

    /// What the user may not do of what the worker must, each to complete the sentence "it may not …".
    pub async fn forbidden(&self, declares: bool) -> Result<Vec<String>, BrokerError> {
        let topology = &self.topology;
        let mut forbidden = Vec::new();
        if !self.may_consume(topology.queue()).await? {
            forbidden.push(format!("read queue {}", topology.queue()));
        }
        for exchange in [topology.dead_letter_exchange(), topology.retry_exchange()] {
            if !self.may_publish(&exchange).await? {
                forbidden.push(format!("write to exchange {exchange}"));
            }
        }
        if declares {
            let own = [topology.dead_letter_exchange(), topology.retry_exchange()];
            let mut exchanges: Vec<_> = own.into_iter().map(|name| (name, false)).collect();
            exchanges.push((topology.exchange().to_owned(), true));
            for (exchange, is_the_hosts) in exchanges {
                // One of the host's that is there is used as it is.
                let needed = !is_the_hosts || !exchange_is_there(&self.connection, &exchange).await?;
                if needed && !self.may_declare_exchange(&exchange).await? {
                    forbidden.push(format!("configure exchange {exchange}"));
                }
            }
            for queue in topology.queues() {
                if !self.may_declare(&queue.name).await? {
                    forbidden.push(format!("configure queue {}", queue.name));
                }
                for (exchange, _) in &queue.bindings {
                    if !self.may_bind(&queue.name, exchange).await? {
                        forbidden.push(format!("bind queue {} to exchange {exchange} (write and read)", queue.name));
                    }
                }
            }
        }
        Ok(forbidden)
    }

    /// Whether the user may publish. An expiration that is no number is refused after the permission was checked and
    /// before anything is routed.
    pub async fn may_publish(&self, exchange: &str) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        answer("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let refused = BasicProperties::default().with_expiration("never".into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let published = answer("ask for a permission", async {
            channel.basic_publish(exchange.into(), "".into(), options, b"", refused).await?.await
        });
        allowed(published.await.map(drop))
    }

    /// Closes the connection.
    pub async fn end(self) {
        close(&self.connection).await;
    }

    /// A consumer's priority that is no number is refused after the permission was checked and before anything is delivered.
    async fn may_consume(&self, queue: &str) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let consuming = channel.basic_consume(
            queue.into(),
            "doctor".into(),
            BasicConsumeOptions::default(),
            one("x-priority", AMQPValue::LongString("none".into())),
        );
        allowed(answer("ask for a permission", consuming).await.map(drop))
    }

    /// The same with a queue's life time.
    async fn may_declare(&self, queue: &str) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let refused = one("x-expires", AMQPValue::LongString("never".into()));
        allowed(answer("ask for a permission", channel.queue_declare(queue.into(), options, refused)).await.map(drop))
    }

    /// An alternate exchange that is no name is refused after the permission was checked, whether the exchange is there or not.
    async fn may_declare_exchange(&self, exchange: &str) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let refused = one("alternate-exchange", AMQPValue::Boolean(true));
        let declaring = channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, refused);
        allowed(answer("ask for a permission", declaring).await)
    }

    /// Unbinding what was never bound needs what binding needs, and does nothing.
    async fn may_bind(&self, queue: &str, exchange: &str) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let never_bound = format!("doctor.{}", uuid::Uuid::new_v4());
        let unbinding =
            channel.queue_unbind(queue.into(), exchange.into(), never_bound.as_str().into(), FieldTable::default());
        allowed(answer("ask for a permission", unbinding).await)
    }

    async fn compare_exchange(&self, name: &str, kind: ExchangeKind) -> Result<Compared, BrokerError> {
        if !exchange_is_there(&self.connection, name).await? {
            return Ok(Compared::Missing);
        }
        let channel = open_channel(&self.connection).await?;
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declaring = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
        compared(answer("compare an exchange", declaring).await)
    }
}

fn one(name: &str, value: AMQPValue) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(name.into(), value);
    table
}

fn compared(declared: Result<(), BrokerError>) -> Result<Compared, BrokerError> {
    let Err(error) = declared else { return Ok(Compared::Same) };
    let (soft, words) = refusal(error)?;
    Ok(match soft {
        AMQPSoftError::ACCESSREFUSED => Compared::Hidden,
        _ => Compared::Other(words),
    })
}

/// Only a refused access is a no: every other answer came after the permission was found.
fn allowed(answered: Result<(), BrokerError>) -> Result<bool, BrokerError> {
    match answered {
        Ok(()) => Ok(true),
        Err(error) => refusal(error).map(|(soft, _)| soft != AMQPSoftError::ACCESSREFUSED),
    }
}

/// The broker's refusal and its words; any other error stays one.
fn refusal(error: BrokerError) -> Result<(AMQPSoftError, String), BrokerError> {
    let soft = match &error {
        BrokerError::Failed { cause, .. } => {
            BrokerError::soft_error(cause).map(|soft| (soft, BrokerError::words(cause)))
        }
        _ => None,
    };
    soft.ok_or(error)
}
