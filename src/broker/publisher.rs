use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{answer, close, connect, open_channel};
use super::{BrokerAddress, BrokerError, Outgoing};

/// For the confirmation of everything in flight. A blocked connection (memory or disk alarm at the broker) runs into it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// Publishes with confirms and mandatory, on a connection of its own that is made at first use and again after any failure.
pub struct Publisher {
    address: BrokerAddress,
    link: Mutex<Option<Link>>,
}

struct Link {
    connection: Connection,
    channel: Channel,
}

/// Why a message is not safely in a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The exchange has no queue for it; the broker gave it back.
    #[error("unroutable: no queue is bound to exchange {exchange} for routing key {routing_key}")]
    Unroutable {
        /// Where to it was sent.
        exchange: String,
        /// With which key.
        routing_key: String,
    },
    /// The broker took it and said no, for instance because the queue is full.
    #[error("refused by the broker")]
    Refused,
    /// The broker did not answer: it may be in the queue or not.
    #[error("unconfirmed: {0}")]
    Unconfirmed(String),
}

impl Publisher {
    /// Does not connect yet.
    #[must_use]
    pub fn new(address: BrokerAddress) -> Self {
        Self { address, link: Mutex::new(None) }
    }

    /// Publishes all, then waits for all confirms. One answer a message, in their order.
    ///
    /// Never waits for a broker that is away: those are unconfirmed, and the caller decides when to try again.
    pub async fn publish(&self, messages: &[&Outgoing]) -> Vec<Result<(), PublishError>> {
        let mut link = self.link.lock().await;
        if link.as_ref().is_some_and(|link| !link.channel.status().connected()) {
            *link = None;
        }
        if link.is_none() {
            match Link::open(&self.address).await {
                Ok(opened) => *link = Some(opened),
                Err(error) => return vec![Err(PublishError::Unconfirmed(error.one_line())); messages.len()],
            }
        }
        let Some(Link { connection, channel }) = link.as_ref() else {
            return Vec::new(); // unreachable: it was opened above
        };
        let answers = publish_all(channel, messages).await;
        if answers.iter().any(|answer| matches!(answer, Err(PublishError::Unconfirmed(_)))) {
            // Confirms that come late must not be taken for those of the next messages: a new channel begins anew.
            close(connection).await;
            *link = None;
        }
        answers
    }

    /// Closes the connection, if there is one.
    pub async fn close(&self) {
        if let Some(link) = self.link.lock().await.take() {
            close(&link.connection).await;
        }
    }
}

impl Link {
    async fn open(address: &BrokerAddress) -> Result<Self, BrokerError> {
        let connection = connect(address, "publisher").await?;
        let channel = open_channel(&connection).await?;
        answer("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self { connection, channel })
    }
}

async fn publish_all(channel: &Channel, messages: &[&Outgoing]) -> Vec<Result<(), PublishError>> {
    let mut pending = Vec::with_capacity(messages.len());
    for message in messages {
        pending.push(send(channel, message).await);
    }
    let mut returned = Vec::new();
    let mut answers = Vec::with_capacity(messages.len());
    let deadline = tokio::time::Instant::now() + CONFIRM_TIMEOUT;
    for sent in pending {
        let confirmed = match sent {
            Ok(confirm) => tokio::time::timeout_at(deadline, confirm).await,
            Err(error) => {
                answers.push(Err(error));
                continue;
            }
        };
        answers.push(match confirmed {
            Ok(Ok(Confirmation::Ack(back))) => {
                returned.extend(back);
                Ok(())
            }
            Ok(Ok(Confirmation::Nack(back))) => {
                returned.extend(back);
                Err(PublishError::Refused)
            }
            Ok(Ok(Confirmation::NotRequested)) => {
                Err(PublishError::Unconfirmed("the channel has no confirms".to_owned()))
            }
            Ok(Err(error)) => Err(PublishError::Unconfirmed(error.to_string().replace(['\r', '\n'], " "))),
            Err(_) => {
                Err(PublishError::Unconfirmed("no confirm in time; is the broker short of memory or disk?".to_owned()))
            }
        });
    }
    mark_returned(messages, &returned, &mut answers);
    answers
}

async fn send(channel: &Channel, message: &Outgoing) -> Result<PublisherConfirm, PublishError> {
    let name = |text: &str| ShortString::try_new(text).map_err(|error| PublishError::Unconfirmed(error.to_string()));
    // mandatory: an exchange without a matching queue gives the message back instead of dropping it.
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let publishing = channel.basic_publish(
        name(&message.exchange)?,
        name(&message.routing_key)?,
        options,
        &message.body,
        message.properties.clone(),
    );
    match timeout(CONFIRM_TIMEOUT, publishing).await {
        Ok(Ok(confirm)) => Ok(confirm),
        Ok(Err(error)) => Err(PublishError::Unconfirmed(error.to_string().replace(['\r', '\n'], " "))),
        Err(_) => Err(PublishError::Unconfirmed("the broker takes nothing".to_owned())),
    }
}

/// An unroutable message is confirmed too, and lapin hands what came back to whichever confirm is completed next. So each
/// returned message is matched by everything it consists of; of identical ones it does not matter which.
fn mark_returned(messages: &[&Outgoing], returned: &[BasicReturnMessage], answers: &mut [Result<(), PublishError>]) {
    for back in returned {
        let same = messages.iter().zip(answers.iter_mut()).find(|(message, answer)| {
            answer.is_ok()
                && back.delivery.routing_key.as_str() == message.routing_key
                && back.delivery.exchange.as_str() == message.exchange
                && back.delivery.data == message.body
                && back.delivery.properties == message.properties
        });
        if let Some((message, answer)) = same {
            *answer = Err(PublishError::Unroutable {
                exchange: message.exchange.clone(),
                routing_key: message.routing_key.clone(),
            });
        }
    }
}
