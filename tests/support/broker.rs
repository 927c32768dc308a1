use std::collections::BTreeMap;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use uuid::Uuid;

use super::{Snapshot, World};

/// A message read back from a queue.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    pub body: Vec<u8>,
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
}

impl ReceivedMessage {
    /// Headers as text.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let table = self.properties.headers().clone().unwrap_or_default();
        table.inner().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers().get(name).cloned().unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers()))
    }

    pub fn reason(&self) -> String {
        self.header("lifecycle-reason")
    }

    pub fn message_id(&self) -> String {
        self.properties.message_id().as_ref().expect("a message id").to_string()
    }
}

fn text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

impl World {
    /// A connection and a channel, as another program would have.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.servers.amqp_url, ConnectionProperties::default())
            .await
            .expect("RabbitMQ answers");
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    /// Publishes bodies as another program would: confirmed, persistent, with the routing key of a confirmed event.
    pub async fn publish_raw(&self, bodies: &[Vec<u8>]) {
        let bare = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        self.publish_with(bodies, &bare).await;
    }

    pub async fn publish_with(&self, bodies: &[Vec<u8>], properties: &BasicProperties) {
        let (connection, channel) = self.channel().await;
        let mut confirms = Vec::new();
        for body in bodies {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let published = channel.basic_publish(
                self.exchange.as_str().into(),
                "event.status.confirmed".into(),
                options,
                body,
                properties.clone(),
            );
            confirms.push(published.await.unwrap());
        }
        for confirm in confirms {
            let confirmation = confirm.await.unwrap();
            assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "the message has a queue");
        }
        connection.close(200, "done".into()).await.ok();
    }

    /// Inserts `count` events with a snapshot each; returns the messages that end them.
    pub async fn ending_events(&self, count: usize) -> Vec<Vec<u8>> {
        let team = self.team().await;
        let mut bodies = Vec::new();
        for _ in 0..count {
            let event = self.event().await;
            self.insert(&Snapshot::of(team).event(event)).await;
            bodies.push(body(event, "confirmed", time::OffsetDateTime::now_utc()));
        }
        bodies
    }

    /// Publishes the status `confirmed` of an event, reached at a time.
    pub async fn confirm_event(&self, event: Uuid, at: time::OffsetDateTime) {
        self.publish_raw(&[body(event, "confirmed", at)]).await;
    }

    /// Declares a queue for the test alone, bound to an exchange by these routing keys.
    pub async fn own_queue(&self, exchange: &str, keys: &[&str]) -> String {
        let queue = format!("{}.own", self.queue);
        let (connection, channel) = self.channel().await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
        self.delete_at_end(&queue);
        for key in keys {
            let (queue, exchange, key) = (queue.as_str().into(), exchange.into(), (*key).into());
            let bind = channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default());
            bind.await.unwrap();
        }
        connection.close(200, "done".into()).await.ok();
        queue
    }

    /// Has the exchange route these messages to the worker's queue.
    pub async fn bind_queue(&self, key: &str) {
        let (connection, channel) = self.channel().await;
        let (queue, exchange) = (self.queue.as_str().into(), self.exchange.as_str().into());
        let options = QueueBindOptions::default();
        channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default()).await.unwrap();
        connection.close(200, "done".into()).await.ok();
    }

    /// Takes the worker's queue off the exchange: status messages have no queue any more.
    pub async fn unbind_queue(&self) {
        let (connection, channel) = self.channel().await;
        let (queue, exchange) = (self.queue.as_str().into(), self.exchange.as_str().into());
        channel.queue_unbind(queue, exchange, "event.status.#".into(), FieldTable::default()).await.unwrap();
        connection.close(200, "done".into()).await.ok();
    }

    /// Messages ready in a queue.
    pub async fn depth(&self, queue: &str) -> u32 {
        let (connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let depth = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .expect("the queue exists")
            .message_count();
        connection.close(200, "done".into()).await.ok();
        depth
    }

    /// Messages that are not settled yet and not in flight: in the work queue and the wait queues.
    pub async fn waiting(&self) -> u32 {
        let mut waiting = self.depth(&self.queue).await;
        for delay in ["1s", "10s", "1m", "10m"] {
            waiting += self.depth(&format!("{}.wait.{delay}", self.queue)).await;
        }
        waiting
    }
}

/// The body of a status message.
pub fn body(event: Uuid, status: &str, at: time::OffsetDateTime) -> Vec<u8> {
    body_of_team(event, None, status, at)
}

/// The same with a team.
pub fn body_of_team(event: Uuid, team: Option<Uuid>, status: &str, at: time::OffsetDateTime) -> Vec<u8> {
    let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
    serde_json::to_vec(&serde_json::json!({
        "message_id": Uuid::new_v4(), "event_id": event, "team_id": team, "status": status, "step": 7, "occurred_at": at,
    }))
    .unwrap()
}
