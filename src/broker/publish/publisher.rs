use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::outgoing::Outgoing;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::message::InvalidStatusMessage;

/// For the confirmation of everything in flight. A blocked connection (memory or disk alarm at the broker) runs into it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// Each costs a new channel; with more of them something is wrong with all.
const MOST_REJECTED: usize = 5;

/// Publishes with confirms and mandatory, on a connection of its own that is made at first use and again after any failure.
pub struct Publisher {
    address: BrokerAddress,
    patience: Duration,
    link: Mutex<Option<Link>>,
}

pub(in crate::broker) struct Link {
    pub(in crate::broker) connection: Connection,
    pub(in crate::broker) channel: Channel,
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
    /// It has no JSON form; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidStatusMessage),
    /// The broker took it and said no, for instance because the queue is full.
    #[error("refused by the broker")]
    Refused,
    /// The broker will not have it, or us, however often it is tried: no such exchange, no permission, headers that do not fit into a
    /// frame, a login that is refused. With the broker's words.
    #[error("rejected by the broker: {0}")]
    Rejected(String),
    /// The broker did not answer: it may be in the queue or not.
    #[error("unconfirmed: {0}")]
    Unconfirmed(String),
}

impl Publisher {
    /// Does not connect yet.
    #[must_use]
    pub fn new(address: BrokerAddress) -> Self {
        Self { address, patience: CONFIRM_TIMEOUT, link: Mutex::new(None) }
    }

    /// Gives up after another time than 15 seconds, connecting included.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Publishes all, then waits for all confirms. One answer a message, in their order.
    ///
    /// Never waits for a broker that is away: those are unconfirmed, and the caller decides when to try again. A message that the
    /// broker rejects ends the channel, and with it what is known of its neighbours; so they are then sent one by one, and some may
    /// arrive twice.
    pub async fn publish(&self, messages: &[&Outgoing]) -> Vec<Result<(), PublishError>> {
        // One deadline for all: on a blocked connection nothing is written, and each message waiting for itself would add up.
        let deadline = Instant::now() + self.patience;
        let mut answers = self.publish_together(messages, deadline).await;
        if messages.len() < 2 || !answers.iter().any(|answer| matches!(answer, Err(PublishError::Rejected(_)))) {
            return answers;
        }
        let mut rejected = 0;
        for (message, answer) in messages.iter().zip(&mut answers) {
            if !matches!(answer, Err(PublishError::Rejected(_) | PublishError::Unconfirmed(_))) {
                continue;
            }
            *answer = if rejected < MOST_REJECTED {
                self.publish_together(&[*message], deadline).await.remove(0)
            } else {
                Err(PublishError::Unconfirmed("not sent again, because too many beside it were rejected".to_owned()))
            };
            match answer {
                Err(PublishError::Rejected(_)) => rejected += 1,
                Err(PublishError::Unconfirmed(_)) => rejected = MOST_REJECTED, // away
                _ => {}
            }
        }
        answers
    }

    async fn publish_together(&self, messages: &[&Outgoing], deadline: Instant) -> Vec<Result<(), PublishError>> {
        let mut held = self.link.lock().await;
        let link = match held.take().filter(|link| link.channel.status().connected()) {
            Some(link) => link,
            None => match timeout_at(deadline, Link::open(&self.address)).await {
                Ok(Ok(link)) => link,
                Ok(Err(error)) if error.is_transient() => {
                    return vec![Err(PublishError::Unconfirmed(error.one_line())); messages.len()];
                }
                Ok(Err(error)) => return vec![Err(PublishError::Rejected(error.one_line())); messages.len()],
                Err(_) => {
                    let late = PublishError::Unconfirmed("could not connect to RabbitMQ in time".to_owned());
                    return vec![Err(late); messages.len()];
                }
            },
        };
        let answers = publish_all(&link.channel, messages, deadline).await;
        let lost =
            |answer: &Result<_, _>| matches!(answer, Err(PublishError::Unconfirmed(_) | PublishError::Rejected(_)));
        *held = if answers.iter().any(lost) {
            // Confirms that come late must not be taken for those of the next messages: a new channel begins anew.
            close(&link.connection).await;
            None
        } else if answers.contains(&Err(PublishError::Refused)) {
            // RabbitMQ goes on refusing this channel where the limit of a full queue is taken away.
            timeout_at(deadline, link.with_another_channel()).await.ok().and_then(Result::ok)
        } else {
            Some(link)
        };
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
    pub(in crate::broker) async fn open(address: &BrokerAddress) -> Result<Self, BrokerError> {
        Self::on(connect(address, "publisher").await?).await
    }

    async fn on(connection: Connection) -> Result<Self, BrokerError> {
        let channel = open_channel(&connection).await?;
        answer("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self { connection, channel })
    }

    async fn with_another_channel(self) -> Result<Self, BrokerError> {
        answer("close a channel", self.channel.close(200, "done".into())).await?;
        Self::on(self.connection).await
    }
}

async fn publish_all(channel: &Channel, messages: &[&Outgoing], deadline: Instant) -> Vec<Result<(), PublishError>> {
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        match send(channel, message, deadline).await {
            Ok(confirm) => sent.push(confirm),
            Err(error) => {
                let mut answers = confirmations(&messages[..sent.len()], sent, deadline).await;
                answers.resize(messages.len(), Err(error));
                return answers;
            }
        }
    }
    confirmations(messages, sent, deadline).await
}

pub(in crate::broker) async fn send(
    channel: &Channel,
    message: &Outgoing,
    deadline: Instant,
) -> Result<PublisherConfirm, PublishError> {
    // However often it is tried, a name that is too long will be.
    let name = |text: &str| ShortString::try_new(text).map_err(|error| PublishError::Rejected(error.to_string()));
    // mandatory: an exchange without a matching queue gives the message back instead of dropping it.
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, routing_key) = (name(&message.exchange)?, name(&message.routing_key)?);
    let publishing = channel.basic_publish(exchange, routing_key, options, &message.body, message.properties.clone());
    match timeout_at(deadline, publishing).await {
        Ok(sent) => sent.map_err(|error| unconfirmed(&error)),
        Err(_) => Err(PublishError::Unconfirmed("the broker takes nothing; is it short of memory or disk?".to_owned())),
    }
}

async fn confirmations(
    messages: &[&Outgoing],
    sent: Vec<PublisherConfirm>,
    deadline: Instant,
) -> Vec<Result<(), PublishError>> {
    let mut returned = Vec::new();
    let mut answers = Vec::with_capacity(messages.len());
    for confirm in sent {
        answers.push(match timeout_at(deadline, confirm).await {
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
            Ok(Err(error)) => Err(unconfirmed(&error)),
            Err(_) => {
                Err(PublishError::Unconfirmed("no confirm in time; is the broker short of memory or disk?".to_owned()))
            }
        });
    }
    mark_returned(messages, &returned, &mut answers);
    answers
}

/// What it means for a message in flight that its channel or connection ended so.
pub(in crate::broker) fn unconfirmed(error: &lapin::Error) -> PublishError {
    let words = BrokerError::words(error).replace(['\r', '\n'], " ");
    if BrokerError::is_rejection(error) { PublishError::Rejected(words) } else { PublishError::Unconfirmed(words) }
}

/// An unroutable message is confirmed too, and lapin hands what came back to whichever confirm is completed next. So each
/// returned message is matched by everything it consists of; of identical ones it does not matter which. One that
/// matches none (the broker may have changed a property) leaves none of them certain.
fn mark_returned(messages: &[&Outgoing], returned: &[BasicReturnMessage], answers: &mut [Result<(), PublishError>]) {
    for back in returned {
        let same =
            messages.iter().zip(answers.iter_mut()).find(|(message, answer)| answer.is_ok() && is_same(message, back));
        if let Some((message, answer)) = same {
            *answer = Err(PublishError::Unroutable {
                exchange: message.exchange.clone(),
                routing_key: message.routing_key.clone(),
            });
        } else {
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(PublishError::Unconfirmed("a message came back that is none of these".to_owned()));
            }
        }
    }
}

pub(in crate::broker) fn is_same(message: &Outgoing, back: &BasicReturnMessage) -> bool {
    back.delivery.routing_key.as_str() == message.routing_key
        && back.delivery.exchange.as_str() == message.exchange
        && back.delivery.data == message.body
        && back.delivery.properties == message.properties
}
