use lapin::BasicProperties;
use lapin::types::FieldTable;
use uuid::Uuid;

use crate::broker::headers;
use crate::clock;
use crate::message::{EventStatus, InvalidStatusMessage, StatusMessage};

/// A message to publish: exchange, routing key, properties and body.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub(in crate::broker) exchange: String,
    pub(in crate::broker) routing_key: String,
    pub(in crate::broker) properties: BasicProperties,
    pub(in crate::broker) body: Vec<u8>,
}

/// AMQP's limit for the names of exchanges and for routing keys (0-9-1, short strings).
pub(in crate::broker) const MAX_NAME_BYTES: usize = 255;
/// Survives a restart of the broker (AMQP 0-9-1, basic properties).
pub(in crate::broker) const PERSISTENT: u8 = 2;

impl Outgoing {
    /// A status message: persistent, with the properties that the interface names, and where it comes from in a trace.
    ///
    /// # Errors
    /// When the message has no JSON form.
    pub fn status(exchange: &str, message: &StatusMessage) -> Result<Self, InvalidStatusMessage> {
        Ok(Self::status_as_written(exchange, message, message.to_json()?))
    }

    /// The same, told apart from what the worker publishes.
    #[must_use]
    pub(super) fn with_app_id(mut self, app_id: &str) -> Self {
        self.properties = self.properties.with_app_id(app_id.into());
        self
    }

    /// The same with the body as somebody wrote it; `message` is what it means.
    #[must_use]
    pub fn status_as_written(exchange: &str, message: &StatusMessage, body: Vec<u8>) -> Self {
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_app_id("snapshot-lifecycle".into());
        if let Some(message_id) = message.message_id {
            properties = properties.with_message_id(message_id.to_string().into());
        }
        if let Ok(seconds) = u64::try_from(message.occurred_at.unix_timestamp()) {
            properties = properties.with_timestamp(seconds);
        }
        if let Some(context) = &message.trace_context {
            let mut table = FieldTable::default();
            headers::set_trace_context(&mut table, context);
            properties = properties.with_headers(table);
        }
        Self { exchange: exchange.to_owned(), routing_key: message.routing_key(), properties, body }
    }

    /// A status that ends no event, for an event that does not exist: every worker counts it as ignored.
    #[must_use]
    pub fn status_probe(exchange: &str) -> Self {
        let message = StatusMessage::new(Uuid::nil(), EventStatus::Lead, clock::now());
        // Written by hand, so that nothing can fail.
        let body = format!(
            r#"{{"event_id":"{}","status":"lead","occurred_at":"1970-01-01T00:00:00Z","probe":"snapshot-lifecycle doctor"}}"#,
            message.event_id
        );
        Self::status_as_written(exchange, &message, body.into_bytes())
    }

    /// A message for the dead-letter queue that expires at once. That queue dead-letters to no exchange, so the message is dropped.
    #[must_use]
    pub fn dead_letter_probe(exchange: &str) -> Self {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_expiration("1".into())
            .with_app_id("snapshot-lifecycle doctor".into());
        Self { exchange: exchange.to_owned(), routing_key: String::new(), properties, body: Vec::new() }
    }
}
