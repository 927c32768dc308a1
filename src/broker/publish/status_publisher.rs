use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::PublishError;
use super::outgoing::Outgoing;
use super::publisher::Publisher;
use crate::backoff::Backoff;
use crate::broker::connection::address::BrokerAddress;
use crate::config::ConfigError;
use crate::message::StatusMessage;

/// In flight at once: the confirms of one group share a deadline.
const GROUP: usize = 1_000;
/// No call waits longer; 30 years.
const LONGEST: Duration = Duration::from_hours(30 * 365 * 24);

/// Publishes status messages from a Rust program: persistent, mandatory, each confirmed by the broker.
///
/// Connects at the first message and again after any failure. What the broker did not confirm is published again, with
/// growing pauses, until the time-out; so a message may arrive twice, which does no harm: the second finds no rows.
/// Unroutable, refused, rejected and invalid messages are answered at once.
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
    /// Does not connect yet. Fails where the URL cannot be read.
    pub fn new(amqp_url: &str, exchange: impl Into<String>) -> Result<Self, ConfigError> {
        let address = BrokerAddress::parse(Some(&SecretString::from(amqp_url.to_owned())))?;
        Ok(Self { publisher: Publisher::new(address), exchange: exchange.into(), timeout: Duration::from_secs(30) })
    }

    /// How long a call may take at most, tries and waiting for other tasks included; 30 seconds if not set.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Publishes one message.
    ///
    /// Fails with [`PublishError::Unroutable`], [`PublishError::Refused`] and [`PublishError::Rejected`] as the broker says,
    /// [`PublishError::Invalid`] where the message has no JSON form, and [`PublishError::Unconfirmed`] after the time-out.
    pub async fn publish(&self, message: &StatusMessage) -> Result<(), PublishError> {
        self.publish_all(std::slice::from_ref(message)).await.remove(0)
    }

    /// Publishes many, within one time-out for all. One answer a message, in their order; errors as of [`Self::publish`].
    pub async fn publish_all(&self, messages: &[StatusMessage]) -> Vec<Result<(), PublishError>> {
        // A time that cannot be added is as good as for ever.
        let deadline = Instant::now() + self.timeout.min(LONGEST);
        let outgoing: Vec<_> = messages.iter().map(|message| Outgoing::status(&self.exchange, message)).collect();
        let not_sent = || Err(PublishError::Unconfirmed("no confirm before the time-out".to_owned()));
        let mut answers: Vec<Result<(), PublishError>> =
            outgoing.iter().map(|made| made.as_ref().map_or_else(|e| Err(e.clone().into()), |_| not_sent())).collect();
        let mut pauses = Backoff::for_outage();
        loop {
            let open: Vec<_> = (0..answers.len())
                .filter_map(|index| match (&answers[index], &outgoing[index]) {
                    (Err(PublishError::Unconfirmed(_)), Ok(message)) => Some((index, message)),
                    _ => None,
                })
                .collect();
            if open.is_empty() {
                return answers;
            }
            for group in open.chunks(GROUP) {
                let references: Vec<_> = group.iter().map(|(_, message)| *message).collect();
                // Given up on half-way, the publisher has let go of its connection and makes a new one at the next call.
                let Ok(told) = timeout_at(deadline, self.publisher.publish(&references)).await else { return answers };
                let lost = told.iter().any(|answer| matches!(answer, Err(PublishError::Unconfirmed(_))));
                for ((index, _), answer) in group.iter().zip(told) {
                    answers[*index] = answer;
                }
                if lost {
                    break; // the other groups would ask a broker that is away, each without a pause
                }
                pauses.reset();
            }
            if answers.iter().any(|answer| matches!(answer, Err(PublishError::Unconfirmed(_)))) {
                let next = Instant::now() + pauses.next_delay();
                if next >= deadline {
                    return answers;
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
