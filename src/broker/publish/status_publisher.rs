use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::PublishError;
use super::outgoing::Outgoing;
use super::publisher::Publisher;
use crate::backoff::Backoff;
use crate::broker::connection::address::BrokerAddress;
use crate::message::StatusMessage;
use crate::setting::ConfigError;

/// Messages in flight at once: the confirms of one group share a deadline.
const GROUP: usize = 1_000;
/// No call waits longer; 30 years, so that the deadline is an instant that exists.
const MAX_TIMEOUT: Duration = Duration::from_hours(30 * 365 * 24);

/// Publishes status messages from a Rust program: persistent, mandatory, each confirmed by the broker.
///
/// Connects at the first message and again after any failure. What the broker did not confirm is published again, with
/// growing delays, until the timeout; so a message may arrive twice, which does no harm: the second finds no rows.
/// Unroutable, refused, rejected and invalid messages fail at once.
///
/// May be shared between tasks by reference or in an `Arc`; they take turns on one connection.
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
pub struct StatusPublisher {
    publisher: Publisher,
    exchange: String,
    timeout: Duration,
}

impl StatusPublisher {
    /// Does not connect yet.
    ///
    /// # Errors
    /// When the URL is unusable, or a file that it names cannot be read.
    pub fn new(amqp_url: &str, exchange: impl Into<String>) -> Result<Self, ConfigError> {
        let address = BrokerAddress::parse(Some(&SecretString::from(amqp_url.to_owned())))?;
        Ok(Self { publisher: Publisher::new(address), exchange: exchange.into(), timeout: Duration::from_secs(30) })
    }

    /// Sets how long a call may take, attempts and waiting for other tasks included. Default: 30 s.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// [`PublishError::Unroutable`], [`PublishError::Refused`] and [`PublishError::Rejected`] as the broker results,
    /// [`PublishError::Invalid`] where the message has no JSON form, and [`PublishError::Unconfirmed`] after the timeout.
    pub async fn publish(&self, message: &StatusMessage) -> Result<(), PublishError> {
        self.publish_all(std::slice::from_ref(message)).await.remove(0)
    }

    /// Publishes many, within one timeout for all. One result for each message, in their order; errors as of [`Self::publish`].
    pub async fn publish_all(&self, messages: &[StatusMessage]) -> Vec<Result<(), PublishError>> {
        let deadline = Instant::now() + self.timeout.min(MAX_TIMEOUT);
        let outgoing: Vec<_> = messages.iter().map(|message| Outgoing::status(&self.exchange, message)).collect();
        let not_sent = || Err(PublishError::unconfirmed("no confirm before the timeout"));
        let mut results: Vec<Result<(), PublishError>> = outgoing
            .iter()
            .map(|message| message.as_ref().map_or_else(|e| Err(e.clone().into()), |_| not_sent()))
            .collect();
        let mut backoff = Backoff::for_outage();
        loop {
            let open: Vec<_> = (0..results.len())
                .filter_map(|index| match (&results[index], &outgoing[index]) {
                    (Err(PublishError::Unconfirmed(_)), Ok(message)) => Some((index, message)),
                    _ => None,
                })
                .collect();
            if open.is_empty() {
                return results;
            }
            for group in open.chunks(GROUP) {
                let references: Vec<_> = group.iter().map(|(_, message)| *message).collect();
                // Dropped half-way, the publisher makes a new connection at the next call.
                let Ok(group_results) = timeout_at(deadline, self.publisher.publish(&references)).await else {
                    return results;
                };
                let lost = group_results.iter().any(|result| matches!(result, Err(PublishError::Unconfirmed(_))));
                for ((index, _), result) in group.iter().zip(group_results) {
                    results[*index] = result;
                }
                if lost {
                    break; // the other groups would try a broker that is away, each without a delay
                }
                backoff.reset();
            }
            if results.iter().any(|result| matches!(result, Err(PublishError::Unconfirmed(_)))) {
                let next = Instant::now() + backoff.next_delay();
                if next >= deadline {
                    return results;
                }
                sleep_until(next).await;
            }
        }
    }

    /// Closes the connection, if there is one. A later call makes a new one.
    pub async fn close(&self) {
        self.publisher.close().await;
    }
}
