use serde::Serialize;
use uuid::Uuid;

use super::error::MessageError;
use crate::broker::{BrokerAddress, Outgoing, Publisher};
use crate::clock;
use crate::message::StatusMessage;

/// One message, and where it goes.
pub struct MessagePublication<'a> {
    /// The broker.
    pub address: BrokerAddress,
    /// The exchange.
    pub exchange: &'a str,
    /// The message.
    pub message: StatusMessage,
}

/// What was published.
#[derive(Debug, Serialize)]
pub struct MessageReport {
    /// Finds it again.
    pub message_id: Option<Uuid>,
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// How many messages are confirmed, as for a file.
    pub confirmed: u64,
}

impl MessagePublication<'_> {
    /// Publishes it.
    ///
    /// # Errors
    /// Where the worker would dead-letter it, or the broker does not confirm it.
    pub async fn run(self) -> Result<MessageReport, MessageError> {
        let Self { address, exchange, message } = self;
        message.check_time(clock::now())?;
        let outgoing = Outgoing::status(exchange, &message)?;
        let publisher = Publisher::new(address);
        let answers = publisher.publish(&[&outgoing]).await;
        publisher.close().await;
        answers.into_iter().collect::<Result<(), _>>()?;
        let (message_id, routing_key) = (message.message_id, message.routing_key());
        Ok(MessageReport { message_id, exchange: exchange.to_owned(), routing_key, confirmed: 1 })
    }
}
