//! Looks at queues without changing them.

use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use serde::Serialize;
use serde_json::value::RawValue;

use super::connection::{answer, close, connect, open_channel};
use super::{BrokerAddress, BrokerError, Topology, headers};
use crate::message::Reason;

/// Messages ready in the queues, without those in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepths {
    /// The work queue.
    pub queue: u32,
    /// The dead-letter queue.
    pub dead_letters: u32,
}

/// A connection for looking, made at first use and again after a failure.
pub struct QueueWatch {
    address: BrokerAddress,
    connection: Option<Connection>,
}

/// One dead letter as `dlq list` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The property, or the body's field.
    pub message_id: Option<String>,
    /// Why it is here.
    pub reason: Option<String>,
    /// The text for a person.
    pub error: Option<String>,
    /// From the body, where it can be read.
    pub event_id: Option<String>,
    /// From the body, where it can be read.
    pub team_id: Option<String>,
    /// From the body, where it can be read.
    pub status: Option<String>,
    /// RFC 3339.
    pub dead_lettered_at: Option<String>,
    /// How often it was replayed.
    pub replay_count: u32,
    /// Which attempt failed.
    pub attempt: u32,
    /// Where it first came from.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// Bytes of the body.
    pub size: usize,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl QueueWatch {
    /// Does not connect yet.
    #[must_use]
    pub const fn new(address: BrokerAddress) -> Self {
        Self { address, connection: None }
    }

    /// The depths of both queues.
    pub async fn depths(&mut self, topology: &Topology) -> Result<QueueDepths, BrokerError> {
        let connection = match self.connection.take().filter(|connection| connection.status().connected()) {
            Some(connection) => connection,
            None => connect(&self.address, "watch").await?,
        };
        let channel = open_channel(&connection).await?;
        let depths = QueueDepths {
            queue: depth(&channel, topology.queue()).await?,
            dead_letters: depth(&channel, &topology.dead_letter_queue()).await?,
        };
        answer("close a channel", channel.close(200, "done".into())).await?;
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

/// The oldest letters, at most `most`; all of them go back to their places.
///
/// They are taken and given back, which the broker counts as a delivery up to 4.2; the queue's delivery limit is out of
/// reach for that reason.
pub async fn peek_dead_letters(
    address: &BrokerAddress,
    topology: &Topology,
    most: u32,
) -> Result<Vec<DeadLetter>, BrokerError> {
    let connection = connect(address, "dlq list").await?;
    let letters = peek(&connection, &topology.dead_letter_queue(), most).await;
    close(&connection).await;
    letters
}

async fn peek(connection: &Connection, queue: &str, most: u32) -> Result<Vec<DeadLetter>, BrokerError> {
    let channel = open_channel(connection).await?;
    // What is there now: letters that arrive during the look are for the next one.
    let there = depth(&channel, queue).await?;
    let mut letters = Vec::new();
    for _ in 0..there.min(most) {
        let got =
            answer("read the dead-letter queue", channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }))
                .await?;
        let Some(got) = got else { break };
        letters.push(DeadLetter::read(&got.delivery));
    }
    if !letters.is_empty() {
        let options = BasicNackOptions { multiple: true, requeue: true };
        answer("give letters back", channel.basic_nack(0, options)).await?;
    }
    Ok(letters)
}

async fn depth(channel: &Channel, queue: &str) -> Result<u32, BrokerError> {
    // passive: asks, never makes.
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared =
        answer("look at a queue", channel.queue_declare(queue.into(), options, FieldTable::default())).await?;
    Ok(declared.message_count())
}

impl DeadLetter {
    fn read(delivery: &lapin::message::Delivery) -> Self {
        let properties = &delivery.properties;
        let came = properties.headers().as_ref();
        let of_the_broker = headers::last_death(came).filter(|(_, reason)| reason == "delivery_limit");
        let body: BodyFields = serde_json::from_slice(&delivery.data).unwrap_or_default();
        Self {
            message_id: properties.message_id().as_ref().map(ToString::to_string).or_else(|| text(body.message_id)),
            reason: headers::text(came, headers::REASON)
                .filter(|_| of_the_broker.is_none())
                .or_else(|| of_the_broker.map(|_| Reason::DeliveryLimit.to_string())),
            error: headers::text(came, headers::ERROR),
            event_id: text(body.event_id),
            team_id: text(body.team_id),
            status: text(body.status),
            dead_lettered_at: headers::text(came, headers::DEAD_LETTERED_AT),
            replay_count: headers::count(came, headers::REPLAY_COUNT).unwrap_or_default(),
            attempt: headers::count(came, headers::ATTEMPT).unwrap_or(1),
            exchange: headers::text(came, headers::EXCHANGE).unwrap_or_else(|| delivery.exchange.to_string()),
            routing_key: headers::text(came, headers::ROUTING_KEY).unwrap_or_else(|| delivery.routing_key.to_string()),
            size: delivery.data.len(),
            body: String::from_utf8_lossy(&delivery.data).into_owned(),
        }
    }
}

/// What can be read of a body that may be anything.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct BodyFields {
    message_id: Option<Box<RawValue>>,
    event_id: Option<Box<RawValue>>,
    team_id: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

fn text(value: Option<Box<RawValue>>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}
