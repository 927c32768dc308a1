use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::PublishError;
use super::groups::{GROUP, Groups};
use super::outgoing::{MAX_NAME_BYTES, Outgoing};
use crate::backoff::Backoff;
use crate::broker::connection::address::BrokerAddress;
use crate::message::{InvalidStatusMessage, StatusMessage};
use crate::setting::{ConfigError, Setting};

/// No call waits longer; 30 years, so that the deadline is an instant that exists.
const MAX_TIMEOUT: Duration = Duration::from_hours(30 * 365 * 24);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Apart from the worker's connections and messages.
const DEFAULT_NAME: &str = "snapshot-lifecycle library";

/// Publishes status messages from a Rust program: persistent, mandatory, each confirmed by the broker.
///
/// What the broker did not confirm is published again, with growing delays, until the timeout; so a message may arrive twice, which
/// does no harm: the second finds no rows. Unroutable, refused, rejected and invalid messages fail at once. A message's `app_id` is
/// `snapshot-lifecycle library`.
///
/// ```no_run
/// use snapshot_lifecycle::{EventStatus, StatusMessage, StatusPublisher};
/// use time::OffsetDateTime;
/// use uuid::Uuid;
///
/// # async fn confirm(event: Uuid) -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = StatusPublisher::new("amqp://guest:guest@localhost:5672/%2f", "event.status")?;
/// publisher.publish(&StatusMessage::new(event, EventStatus::Confirmed, OffsetDateTime::now_utc())).await?;
/// publisher.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Runtime
///
/// Calls are made within a tokio runtime, and panic outside of one. [`new`](Self::new) and the `with_…` methods need none.
///
/// # Sharing, cost
///
/// `Send` and `Sync`; clones share one connection, which is made at the first message and again after any failure. Calls that come while
/// others wait for their confirms are published together, at most 1,000 messages at once, so a round trip serves them all. A single call
/// takes one round trip. For many messages at hand, [`publish_all`](Self::publish_all) takes one round trip for each 1,000.
///
/// # Cancelling, dropping
///
/// A call may be dropped at any time, as by a timeout or a client that has gone: its message is then published or not, the connection
/// stays, and no other call notices. The last clone that is dropped closes the connection. The connection belongs to the tokio runtime of
/// the call that made it; after that runtime's end the next call makes another.
///
/// # TLS
///
/// `amqps://` uses rustls, by the process's default provider of cryptography (`rustls::crypto::CryptoProvider`). Where the program has
/// installed none, ring is installed. `cacertfile=`, `certfile=` and `keyfile=` in the URL name files in PEM.
#[derive(Clone)]
pub struct StatusPublisher {
    groups: Arc<Groups>,
    exchange: String,
    timeout: Duration,
}

impl StatusPublisher {
    /// Does not connect yet.
    ///
    /// # Errors
    /// When the URL is unusable, a file that it names cannot be read, or the exchange's name is empty, longer than 255 bytes or has
    /// control characters.
    pub fn new(amqp_url: &str, exchange: impl Into<String>) -> Result<Self, ConfigError> {
        let address = BrokerAddress::parse(Some(&SecretString::from(amqp_url.to_owned())))?;
        let exchange = exchange.into();
        if !(1..=MAX_NAME_BYTES).contains(&exchange.len()) || exchange.chars().any(char::is_control) {
            return Err(ConfigError::new(Setting::Exchange, "1 to 255 bytes without control characters"));
        }
        let groups = Arc::new(Groups::new(address, DEFAULT_NAME.to_owned()));
        Ok(Self { groups, exchange, timeout: DEFAULT_TIMEOUT })
    }

    /// Sets how long a call may take, attempts and waiting for other calls included. Default: 30 s. Other clones keep theirs.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the name under which the broker lists the connection. Default: `snapshot-lifecycle library`. Clones that were made before keep
    /// their own connection.
    #[must_use]
    pub fn with_connection_name(mut self, name: impl Into<String>) -> Self {
        self.groups = Arc::new(self.groups.renamed(name.into()));
        self
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// [`PublishError::Unroutable`], [`PublishError::Refused`] and [`PublishError::Rejected`] as the broker answers,
    /// [`PublishError::Invalid`] where the message has no JSON form, and [`PublishError::Unconfirmed`] after the timeout or when the
    /// publisher is closed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn publish(&self, message: &StatusMessage) -> Result<(), PublishError> {
        self.publish_all(std::slice::from_ref(message)).await.remove(0)
    }

    /// Publishes many, within one timeout for all. One result for each message, in their order; errors as of [`Self::publish`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn publish_all(&self, messages: &[StatusMessage]) -> Vec<Result<(), PublishError>> {
        let deadline = Instant::now() + self.timeout.min(MAX_TIMEOUT);
        let outgoing: Vec<_> = messages.iter().map(|message| self.outgoing(message).map(Arc::new)).collect();
        let not_sent = || Err(PublishError::unconfirmed("no confirm before the timeout"));
        let mut results: Vec<Result<(), PublishError>> = outgoing
            .iter()
            .map(|message| message.as_ref().map_or_else(|e| Err(e.clone().into()), |_| not_sent()))
            .collect();
        // Late or not, what is known by now stands in `results`.
        timeout_at(deadline, self.publish_until_confirmed(&outgoing, &mut results, deadline)).await.ok();
        results
    }

    fn outgoing(&self, message: &StatusMessage) -> Result<Outgoing, InvalidStatusMessage> {
        Ok(Outgoing::status(&self.exchange, message)?.with_app_id(DEFAULT_NAME))
    }

    async fn publish_until_confirmed<E>(
        &self,
        outgoing: &[Result<Arc<Outgoing>, E>],
        results: &mut [Result<(), PublishError>],
        deadline: Instant,
    ) {
        let mut link = self.groups.link();
        let mut backoff = Backoff::for_outage();
        loop {
            let open: Vec<_> = (0..results.len())
                .filter_map(|index| match (&results[index], &outgoing[index]) {
                    (Err(PublishError::Unconfirmed(_)), Ok(message)) => Some((index, message)),
                    _ => None,
                })
                .collect();
            for group in open.chunks(GROUP) {
                let messages = group.iter().map(|(_, message)| Arc::clone(message)).collect();
                let Some(answer) = link.closed.run_until_cancelled(link.publish(messages, deadline)).await else {
                    return mark_closed(results);
                };
                let Some(group_results) = answer else {
                    link = self.groups.link(); // the runtime that it belonged to has ended
                    break;
                };
                let lost = group_results.iter().any(is_unconfirmed);
                for ((index, _), result) in group.iter().zip(group_results) {
                    results[*index] = result;
                }
                if lost {
                    break; // the other groups would try a broker that is away, each without a delay
                }
                backoff.reset();
            }
            let Some(Err(error)) = results.iter().find(|result| is_unconfirmed(result)) else { return };
            let next = Instant::now() + backoff.next_delay();
            if next >= deadline {
                return;
            }
            tracing::warn!(%error, "could not publish status messages; trying again");
            if link.closed.run_until_cancelled(sleep_until(next)).await.is_none() {
                return mark_closed(results);
            }
        }
    }

    /// Closes the connection, if there is one. Calls under way have five seconds to end; those that wait longer end with
    /// [`PublishError::Unconfirmed`], as do all when this call is dropped. Takes six seconds at most. A later call makes a new connection.
    pub async fn close(&self) {
        self.groups.close().await;
    }
}

impl fmt::Debug for StatusPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusPublisher")
            .field("connection_name", &self.groups.name())
            .field("exchange", &self.exchange)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive() // neither the URL nor the password
    }
}

fn mark_closed(results: &mut [Result<(), PublishError>]) {
    for result in results.iter_mut().filter(|result| is_unconfirmed(result)) {
        *result = Err(PublishError::unconfirmed("the publisher was closed"));
    }
}

const fn is_unconfirmed(result: &Result<(), PublishError>) -> bool {
    matches!(result, Err(PublishError::Unconfirmed(_)))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::message::EventStatus;

    #[test]
    fn messages_of_the_library_are_told_from_the_workers() {
        let publisher = StatusPublisher::new("amqp://localhost", "event.status").unwrap();
        let message = StatusMessage::new(Uuid::nil(), EventStatus::Confirmed, OffsetDateTime::UNIX_EPOCH);
        let app_id = |outgoing: Outgoing| outgoing.properties.app_id().as_ref().unwrap().to_string();
        assert_eq!(app_id(publisher.outgoing(&message).unwrap()), "snapshot-lifecycle library");
        assert_eq!(app_id(Outgoing::status("event.status", &message).unwrap()), "snapshot-lifecycle");
    }
}
