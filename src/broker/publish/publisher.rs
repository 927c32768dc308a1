use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::channel::ConfirmChannel;
use super::confirm::{CONFIRM_TIMEOUT, InFlight, mark_returned};
use super::error::PublishError;
use super::outgoing::Outgoing;
use crate::broker::connection::address::BrokerAddress;

/// Rejected messages that are told apart in one call. Each costs a new connection; with more of them something is wrong with all.
const MAX_REJECTED: usize = 5;

/// What the broker lists the connection as.
pub(super) const NAME: &str = "snapshot-lifecycle publisher";

/// Publishes with `mandatory` and confirms, on a connection of its own that is made at first use and again after any failure.
pub struct Publisher {
    address: BrokerAddress,
    name: String,
    timeout: Duration,
    channel: Mutex<Option<ConfirmChannel>>,
}

impl Publisher {
    /// Does not connect yet.
    #[must_use]
    pub fn new(address: BrokerAddress) -> Self {
        Self { address, name: NAME.to_owned(), timeout: CONFIRM_TIMEOUT, channel: Mutex::new(None) }
    }

    /// Sets the name under which the broker lists the connection.
    #[must_use]
    pub(super) fn with_name(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// Sets how long a call may take, connecting included. Default: 15 s.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Publishes all, then waits for all confirms. One result for each message, in their order.
    ///
    /// Never waits for a broker that is away: then the messages are unconfirmed, and the caller decides when to try again. A message
    /// that the broker rejects ends the channel, and with it what is known of its neighbours; so they are then published one by
    /// one, and some may arrive twice.
    ///
    /// Cancel-safe: dropped half-way, the publisher makes a new connection at the next call.
    pub async fn publish(&self, messages: &[&Outgoing]) -> Vec<Result<(), PublishError>> {
        // One deadline for all: on a blocked connection nothing is written, and a wait for each message would add up.
        let deadline = Instant::now() + self.timeout;
        let mut results = self.publish_together(messages, deadline).await;
        if messages.len() < 2 || !results.iter().any(|result| matches!(result, Err(PublishError::Rejected(_)))) {
            return results;
        }
        let mut rejected = 0;
        for (message, result) in messages.iter().zip(&mut results) {
            if !matches!(result, Err(PublishError::Rejected(_) | PublishError::Unconfirmed(_))) {
                continue;
            }
            *result = if rejected < MAX_REJECTED {
                self.publish_together(&[*message], deadline).await.remove(0)
            } else {
                Err(PublishError::unconfirmed("not sent again, because too many beside it were rejected"))
            };
            match result {
                Err(PublishError::Rejected(_)) => rejected += 1,
                Err(PublishError::Unconfirmed(_)) => rejected = MAX_REJECTED, // the broker is away
                _ => {}
            }
        }
        results
    }

    pub(super) async fn publish_together(
        &self,
        messages: &[&Outgoing],
        deadline: Instant,
    ) -> Vec<Result<(), PublishError>> {
        let mut held = self.channel.lock().await;
        let channel = match held.take().filter(ConfirmChannel::is_open) {
            Some(channel) => channel,
            None => match timeout_at(deadline, ConfirmChannel::open(&self.address, &self.name)).await {
                Ok(Ok(channel)) => channel,
                Ok(Err(error)) => return vec![Err(PublishError::not_connected(&error)); messages.len()],
                Err(_) => {
                    let late = PublishError::unconfirmed("could not connect to RabbitMQ in time");
                    return vec![Err(late); messages.len()];
                }
            },
        };
        let results = publish_all(&channel, messages, deadline).await;
        let lost =
            |result: &Result<_, _>| matches!(result, Err(PublishError::Unconfirmed(_) | PublishError::Rejected(_)));
        *held = if results.iter().any(lost) {
            // Confirms that come late must not be taken for those of the next messages.
            channel.close().await;
            None
        } else if results.contains(&Err(PublishError::Refused)) {
            // RabbitMQ (3.10.8) goes on refusing this channel's messages after the limit of a full queue is taken away.
            timeout_at(deadline, channel.reopen()).await.ok().and_then(Result::ok)
        } else {
            Some(channel)
        };
        results
    }

    /// Closes the connection, if there is one.
    pub async fn close(&self) {
        if let Some(channel) = self.channel.lock().await.take() {
            channel.close().await;
        }
    }
}

async fn publish_all(
    channel: &ConfirmChannel,
    messages: &[&Outgoing],
    deadline: Instant,
) -> Vec<Result<(), PublishError>> {
    let mut in_flight: Vec<InFlight<&Outgoing>> = Vec::with_capacity(messages.len());
    for message in messages {
        let sent = match in_flight.last().and_then(InFlight::error) {
            Some(error) => InFlight::unpublished(*message, error.clone()),
            None => InFlight::publish(channel.channel(), *message, deadline).await,
        };
        in_flight.push(sent);
    }
    let mut returned = Vec::new();
    for sent in &mut in_flight {
        match timeout_at(deadline, sent.confirmed()).await {
            Ok(message) => returned.extend(message),
            Err(_) => sent.give_up(),
        }
    }
    for message in &returned {
        mark_returned(&mut in_flight, message);
    }
    in_flight.into_iter().map(InFlight::into_result).collect()
}
