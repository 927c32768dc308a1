use tokio::time::Instant;

use super::intake::Item;
use crate::backoff::Backoff;
use crate::broker::{
    BrokerAddress, Delivery, Outgoing, PublishError, Publisher, Topology, dead_letter, restore_topology, retry_copy,
};
use crate::clock;
use crate::message::{Reason, Reject};

/// Publishes retry copies and dead letters until the broker confirms them. Their originals stay unacknowledged until then; a copy may so
/// be published twice, but none is lost.
pub(super) struct Republisher<'a> {
    publisher: &'a Publisher,
    address: &'a BrokerAddress,
    topology: &'a Topology,
    waiting: Vec<PendingCopy>,
    backoff: Backoff,
    next_attempt: Instant,
}

/// A delivery with its copy.
pub(super) struct PendingCopy {
    pub(super) delivery: Delivery,
    pub(super) purpose: Purpose,
    copy: Outgoing,
}

/// Why a message is published again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Retry,
    DeadLetter(Reason),
}

impl<'a> Republisher<'a> {
    pub(super) fn new(publisher: &'a Publisher, address: &'a BrokerAddress, topology: &'a Topology) -> Self {
        let (waiting, backoff) = (Vec::new(), Backoff::for_outage());
        Self { publisher, address, topology, waiting, backoff, next_attempt: Instant::now() }
    }

    /// Adds a retry copy, which comes back after the delay.
    pub(super) fn add_retry(&mut self, item: Item, delay: usize, error: &str, counted: bool) {
        let message_id = item.message_name();
        let Item { delivery, request, .. } = item;
        let attempt = delivery.attempt(self.topology);
        tracing::warn!(
            attempt,
            counted,
            message_id,
            event_id = request.event_id(),
            trace_id = trace_id(&delivery),
            error,
            "delete failed; retry scheduled"
        );
        let failed = if counted { attempt } else { attempt - 1 };
        let copy = retry_copy(self.topology, &delivery, delay, failed, error);
        self.waiting.push(PendingCopy { delivery, copy, purpose: Purpose::Retry });
    }

    /// Adds a dead letter. The reject's text stays out of the log: it may quote the body.
    pub(super) fn add_dead_letter(&mut self, item: Item, reject: &Reject) {
        let message_id = item.message_name();
        let Item { delivery, request, .. } = item;
        tracing::warn!(
            reason = reject.reason.as_str(),
            attempt = delivery.attempt(self.topology),
            message_id,
            event_id = request.event_id(),
            trace_id = trace_id(&delivery),
            bytes = delivery.body().len(),
            "message goes to the dead-letter queue"
        );
        let copy = dead_letter(self.topology, &delivery, reject, clock::now());
        self.waiting.push(PendingCopy { delivery, copy, purpose: Purpose::DeadLetter(reject.reason) });
    }

    /// Publishes every copy that is not confirmed yet, and returns those that are now, to be acknowledged. The others wait for the next
    /// attempt.
    pub(super) async fn publish(&mut self) -> Vec<PendingCopy> {
        let copies: Vec<_> = self.waiting.iter().map(|waiting| &waiting.copy).collect();
        let answers = self.publisher.publish(&copies).await;
        let mut confirmed = Vec::with_capacity(self.waiting.len());
        let mut error = None;
        for (republished, answer) in std::mem::take(&mut self.waiting).into_iter().zip(answers) {
            match answer {
                Ok(()) => confirmed.push(republished),
                Err(refused) => {
                    error = Some(refused);
                    self.waiting.push(republished);
                }
            }
        }
        match error {
            None => self.backoff.reset(),
            Some(error) => self.failed(&error).await,
        }
        confirmed
    }

    async fn failed(&mut self, error: &PublishError) {
        tracing::warn!(messages = self.waiting.len(), %error, "republishing failed; trying again");
        self.next_attempt = Instant::now() + self.backoff.next_delay();
        if matches!(error, PublishError::Unroutable { .. } | PublishError::Rejected(_)) {
            // Somebody may have deleted an exchange or a queue of ours.
            if let Err(error) = restore_topology(self.topology, self.address).await {
                tracing::warn!(
                    error = error.one_line(),
                    "exchanges and queues of the worker could not be declared again"
                );
            }
        }
    }

    /// When the next attempt is due, if a copy is waiting for one.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.waiting.is_empty() { None } else { Some(self.next_attempt) }
    }
}

/// For the log, as collectors show it.
fn trace_id(delivery: &Delivery) -> Option<String> {
    Some(format!("{:032x}", delivery.trace_context()?.trace_id()))
}
