use lapin::BasicProperties;

use crate::message::{InvalidStatusMessage, StatusMessage};

/// A message to publish: where to, and everything it consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

/// Survives a restart of the broker (AMQP 0-9-1, basic properties).
pub(super) const PERSISTENT: u8 = 2;

impl Outgoing {
    /// A status message to the exchange, persistent and described as the interface says.
    pub fn status(exchange: &str, message: &StatusMessage) -> Result<Self, InvalidStatusMessage> {
        Ok(Self::status_as_written(exchange, message, message.to_json()?))
    }

    /// The same with the body as somebody wrote it, of which `message` is the meaning.
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
        Self { exchange: exchange.to_owned(), routing_key: message.routing_key(), properties, body }
    }
}
