use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ReceivedMessage, World, body, eventually};

impl World {
    /// A world whose exchanges and queues are declared, without a worker.
    pub async fn with_queues() -> Self {
        let world = Self::new().await;
        world.worker().await.stop().await;
        world
    }

    /// Puts dead letters into the queue as the worker does, of events that do not exist. Returns their message ids in order.
    pub async fn add_dead_letters(&self, count: u32, reason: &str) -> Vec<String> {
        let (connection, channel) = self.channel().await;
        let (mut ids, mut confirms) = (Vec::new(), Vec::new());
        for n in 0..count {
            let id = Uuid::new_v4().to_string();
            let mut headers = FieldTable::default();
            for (name, value) in [
                ("lifecycle-reason", reason),
                ("lifecycle-error", "made by a test"),
                ("lifecycle-dead-lettered-at", "2026-01-05T12:00:00Z"),
                ("lifecycle-exchange", &self.exchange),
                ("lifecycle-routing-key", "event.status.confirmed"),
                ("traceparent", "00-trace-01"),
                ("x-first-death-queue", "a queue of the broker's"),
            ] {
                headers.insert(name.into(), AMQPValue::LongString(value.into()));
            }
            headers.insert("lifecycle-attempt".into(), AMQPValue::LongLongInt(5));
            headers.insert("number".into(), AMQPValue::LongLongInt(n.into()));
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_headers(headers)
                .with_message_id(id.as_str().into())
                .with_correlation_id("kept".into());
            let body = body(Uuid::new_v4(), "confirmed", OffsetDateTime::now_utc());
            let sent = channel.basic_publish(
                format!("{}.dlx", self.queue).into(),
                "event.status.confirmed".into(),
                BasicPublishOptions { mandatory: true, ..Default::default() },
                &body,
                properties,
            );
            confirms.push(sent.await.unwrap());
            ids.push(id);
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
        connection.close(200, "done".into()).await.ok();
        eventually("the dead letters to be counted", async || self.dead_letters().await >= count).await;
        ids
    }

    /// Has a worker dead-letter bodies that are no messages: `not json 0`, `not json 1` …
    pub async fn dead_letter_bodies(&self, count: usize) {
        let worker = self.worker().await;
        self.publish_raw(&(0..count).map(|n| format!("not json {n}").into_bytes()).collect::<Vec<_>>()).await;
        worker.reaches("messages_total{outcome=\"dead_lettered\"}", count as f64).await;
        worker.stop().await;
    }

    /// Publishes one message by an exchange and a routing key to a queue.
    pub async fn put(&self, to: (&str, &str), body: &[u8], properties: BasicProperties) {
        let (connection, channel) = self.channel().await;
        let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent = channel.basic_publish(to.0.into(), to.1.into(), mandatory, body, properties).await.unwrap();
        assert!(sent.await.unwrap().take_message().is_none(), "routed");
        connection.close(200, "done".into()).await.ok();
    }

    /// Takes everything out of a queue, the oldest first.
    pub async fn drain(&self, queue: &str) -> Vec<ReceivedMessage> {
        let (connection, channel) = self.channel().await;
        let mut found = Vec::new();
        while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
            found.push(ReceivedMessage {
                body: got.delivery.data,
                exchange: got.delivery.exchange.to_string(),
                routing_key: got.delivery.routing_key.to_string(),
                properties: got.delivery.properties,
            });
        }
        connection.close(200, "done".into()).await.ok();
        found
    }

    /// The message ids that `dlq list` prints.
    pub async fn list_dead_letters(&self, arguments: &[&str]) -> Vec<String> {
        let answer = self.run(&[&["dlq", "list"], arguments].concat()).await;
        assert_eq!(answer.code, 0, "{answer:?}");
        let dead_letters = answer.json();
        let id = |dead_letter: &Value| dead_letter["message_id"].as_str().unwrap().to_owned();
        dead_letters.as_array().unwrap().iter().map(id).collect()
    }

    pub async fn dead_letters(&self) -> u32 {
        self.depth(&format!("{}.dead-letter", self.queue)).await
    }

    /// Waits for `count` dead letters and removes them, the oldest first.
    pub async fn take_dead_letters(&self, count: u32) -> Vec<ReceivedMessage> {
        let queue = format!("{}.dead-letter", self.queue);
        eventually(&format!("{count} dead letters"), async || self.depth(&queue).await >= count).await;
        let dead_letters = self.drain(&queue).await;
        assert_eq!(dead_letters.len(), count as usize, "dead letters: {dead_letters:?}");
        dead_letters
    }

    /// Removes all dead letters; two with the same body count once.
    pub async fn take_dead_bodies(&self) -> BTreeSet<Vec<u8>> {
        let count = self.dead_letters().await;
        self.take_dead_letters(count).await.into_iter().map(|dead_letter| dead_letter.body).collect()
    }

    /// The bodies of all dead letters, read by `dlq export`: lapin alone cannot read what a hostile publisher sent.
    pub async fn exported_bodies(&self) -> BTreeSet<Vec<u8>> {
        let export = self.run(&["dlq", "export"]).await;
        assert_eq!(export.code, 0, "{}", export.stderr);
        let lines = export.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON in each line"));
        lines.map(|line| line["body"].as_str().expect("bodies of text").as_bytes().to_vec()).collect()
    }
}

/// Properties of a persistent message with these headers.
pub fn with_headers(pairs: &[(&str, &str)]) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in pairs {
        headers.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default().with_delivery_mode(2).with_headers(headers)
}
