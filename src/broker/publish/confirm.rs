//! What the broker answers to a published message.
//!
//! Every message is published with `mandatory` on a channel in confirm mode. An unroutable message is first returned
//! (`basic.return`) and then confirmed all the same. lapin attaches a returned message to whichever confirm is completed next, which
//! may belong to another message in flight. So each returned message is matched by everything it consists of; of identical ones it does
//! not matter which. One that matches none (the broker may have changed a property) leaves none of those in flight certain.

use std::borrow::Borrow;
use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::error::PublishError;
use super::outgoing::Outgoing;

/// For the confirm of a message in flight. RabbitMQ blocks a connection that publishes during a memory or disk alarm, without a word on
/// it: this timeout is what ends such a wait.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// A message that was published, or could not be, and what the broker has answered so far.
pub(super) struct InFlight<M> {
    pub(super) message: M,
    /// Until it is read. Read in any case, since another message's return may be attached to it.
    confirm: Option<PublisherConfirm>,
    error: Option<PublishError>,
}

impl<M: Borrow<Outgoing>> InFlight<M> {
    /// Publishes the message; does not wait for its confirm.
    pub(super) async fn publish(channel: &Channel, message: M, deadline: Instant) -> Self {
        match publish(channel, message.borrow(), deadline).await {
            Ok(confirm) => Self { message, confirm: Some(confirm), error: None },
            Err(error) => Self { message, confirm: None, error: Some(error) },
        }
    }

    /// A message that is not published, because one before it could not be.
    pub(super) const fn unpublished(message: M, error: PublishError) -> Self {
        Self { message, confirm: None, error: Some(error) }
    }

    /// Why it is not safely in a queue, as far as is known.
    pub(super) const fn error(&self) -> Option<&PublishError> {
        self.error.as_ref()
    }

    /// The outcome, once the confirm is read.
    pub(super) fn into_result(self) -> Result<(), PublishError> {
        self.error.map_or(Ok(()), Err)
    }

    /// Waits for the confirm. Gives the returned message that was attached to it, to be passed to [`mark_returned`].
    ///
    /// Cancel-safe.
    pub(super) async fn confirmed(&mut self) -> Option<BasicReturnMessage> {
        let answer = self.confirm.as_mut()?.await;
        self.confirm = None;
        let (error, returned) = match answer {
            Ok(Confirmation::Ack(returned)) => (None, returned),
            Ok(Confirmation::Nack(returned)) => (Some(PublishError::Refused), returned),
            Ok(Confirmation::NotRequested) => (Some(PublishError::unconfirmed("the channel has no confirms")), None),
            Err(error) => (Some(PublishError::channel_ended(&error)), None),
        };
        // An unroutable message is confirmed too: its first error stays.
        self.error = self.error.take().or(error);
        returned
    }

    /// Stops waiting for a confirm that did not come in time.
    pub(super) fn give_up(&mut self) {
        self.confirm = None;
        self.error.get_or_insert_with(|| {
            PublishError::unconfirmed("no confirm in time; is the broker short of memory or disk?")
        });
    }
}

/// Marks the message that the broker has returned, among all that may have been meant.
pub(super) fn mark_returned<'a, M: Borrow<Outgoing> + 'a>(
    messages: impl IntoIterator<Item = &'a mut InFlight<M>>,
    returned: &BasicReturnMessage,
) {
    let mut others = Vec::new();
    for sent in messages.into_iter().filter(|sent| sent.error.is_none()) {
        let message = sent.message.borrow();
        if is_same(message, returned) {
            let (exchange, routing_key) = (message.exchange.clone(), message.routing_key.clone());
            sent.error = Some(PublishError::Unroutable { exchange, routing_key });
            return;
        }
        others.push(sent);
    }
    for sent in others {
        sent.error = Some(PublishError::unconfirmed("a message came back that is none of these"));
    }
}

async fn publish(channel: &Channel, message: &Outgoing, deadline: Instant) -> Result<PublisherConfirm, PublishError> {
    // A name that is too long for AMQP is so at each attempt.
    let name = |text: &str| ShortString::try_new(text).map_err(|error| PublishError::Rejected(error.to_string()));
    // mandatory: an exchange without a matching queue returns the message instead of dropping it.
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, routing_key) = (name(&message.exchange)?, name(&message.routing_key)?);
    let publishing = channel.basic_publish(exchange, routing_key, options, &message.body, message.properties.clone());
    match timeout_at(deadline, publishing).await {
        Ok(published) => published.map_err(|error| PublishError::channel_ended(&error)),
        Err(_) => Err(PublishError::unconfirmed("the broker takes nothing; is it short of memory or disk?")),
    }
}

fn is_same(message: &Outgoing, returned: &BasicReturnMessage) -> bool {
    returned.delivery.routing_key.as_str() == message.routing_key
        && returned.delivery.exchange.as_str() == message.exchange
        && returned.delivery.data == message.body
        && returned.delivery.properties == message.properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;

    fn message(key: &str, body: &str) -> Outgoing {
        let (exchange, routing_key) = ("e".to_owned(), key.to_owned());
        Outgoing { exchange, routing_key, properties: BasicProperties::default(), body: body.into() }
    }

    fn returned(key: &str, body: &str) -> BasicReturnMessage {
        let delivery = lapin::message::Delivery::mock(0, "e".into(), key.into(), false, body.into());
        BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
    }

    fn confirmed<M: Borrow<Outgoing>>(message: M) -> InFlight<M> {
        InFlight { message, confirm: None, error: None }
    }

    fn errors(messages: Vec<InFlight<Outgoing>>) -> Vec<&'static str> {
        let name = |result: Result<(), _>| match result {
            Ok(()) => "confirmed",
            Err(PublishError::Unroutable { .. }) => "unroutable",
            Err(PublishError::Refused) => "refused",
            Err(_) => "unconfirmed",
        };
        messages.into_iter().map(|sent| name(sent.into_result())).collect()
    }

    #[test]
    fn returned_message_is_the_one_that_is_the_same_in_everything() {
        let mut messages: Vec<_> =
            [message("k", "1"), message("other", "2"), message("k", "2"), message("k", "2")].map(confirmed).into();
        mark_returned(&mut messages, &returned("k", "2"));
        assert_eq!(errors(messages), ["confirmed", "confirmed", "unroutable", "confirmed"]);
    }

    #[test]
    fn returned_message_that_is_none_of_those_in_flight_leaves_none_certain() {
        let mut messages: Vec<_> = [message("k", "1"), message("k", "2")].map(confirmed).into();
        messages.push(InFlight::unpublished(message("k", "3"), PublishError::Refused));
        mark_returned(&mut messages, &returned("k", "3"));
        assert_eq!(errors(messages), ["unconfirmed", "unconfirmed", "refused"]);
    }

    #[test]
    fn messages_are_the_same_only_if_all_four_parts_are() {
        let came = returned("k", "1");
        assert!(is_same(&message("k", "1"), &came));
        let elsewhere = Outgoing { exchange: "f".to_owned(), ..message("k", "1") };
        let properties = BasicProperties::default().with_priority(1);
        let marked = Outgoing { properties, ..message("k", "1") };
        for other in [message("l", "1"), message("k", "2"), elsewhere, marked] {
            assert!(!is_same(&other, &came));
        }
    }
}
