use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::acknowledger::Acknowledger;
use super::apply::EndOutcome;
use super::intake::Item;
use super::key::{Key, key};
use super::outcome::{DeliveryOutcome, UNCERTAIN_DELAY, outcome};
use super::republish::{PendingCopy, Purpose, Republisher};
use crate::broker::{ChannelGone, Delivery, Topology};
use crate::clock;
use crate::policy::EventEnd;
use crate::telemetry::{BatchEvent, MessageOutcome, Metrics};

/// The last step: carries out the one outcome of each delivery of a channel, and acknowledges what is settled by it.
///
/// It fails only where an acknowledgement cannot reach the broker, because the channel has ended. The broker then delivers again what
/// was not acknowledged, and every step is done once more, which does no harm.
pub(super) struct Settle<'a> {
    topology: &'a Topology,
    max_attempts: u32,
    metrics: &'a Metrics,
    republisher: Republisher<'a>,
    acknowledger: Acknowledger,
}

/// What stays unacknowledged for now.
#[derive(Default)]
pub(super) struct Remainder {
    /// To be tried again.
    pub(super) held: Vec<Item>,
    /// To be ended in steps.
    pub(super) in_steps: Vec<(Item, EventEnd)>,
    /// What became of the others, where they were not simply acknowledged.
    pub(super) events: Vec<BatchEvent>,
}

impl<'a> Settle<'a> {
    /// For a new channel.
    pub(super) fn new(
        topology: &'a Topology,
        max_attempts: u32,
        metrics: &'a Metrics,
        republisher: Republisher<'a>,
    ) -> Self {
        Self { topology, max_attempts, metrics, republisher, acknowledger: Acknowledger::default() }
    }

    /// Announces deliveries before anything is done with them.
    pub(super) fn opened(&mut self, deliveries: &[Delivery]) {
        self.acknowledger.opened(deliveries);
    }

    /// Settles the items by what became of their event ends, and returns those that are not settled yet. A retry copy or dead letter
    /// that is not confirmed stays here, with its delivery, until [`republish`](Self::republish) succeeds.
    pub(super) async fn run(
        &mut self,
        items: Vec<Item>,
        ended: &HashMap<Key, EndOutcome>,
    ) -> Result<Remainder, ChannelGone> {
        let mut remainder = Remainder::default();
        let mut done = Vec::with_capacity(items.len());
        let (mut applied, mut ignored, mut republished) = (0, 0, false);
        let mut logged = HashSet::new();
        let now = clock::now();
        for item in items {
            let attempt = item.delivery.attempt(self.topology);
            let event = |name, reason| BatchEvent { name, reason, message_id: item.message_id };
            let of_its_end = item.request.end().and_then(|end| ended.get(&key(&end)));
            match outcome(&item.request, of_its_end, attempt, self.max_attempts) {
                DeliveryOutcome::Applied { end, rows, kept } => {
                    // Of several messages for one event the first has the count.
                    let (rows, kept) = if logged.insert(key(&end)) { (rows, kept) } else { (0, 0) };
                    log_end(&item, &end, rows, kept);
                    applied += 1;
                    done.push(item);
                }
                DeliveryOutcome::Ignored => {
                    ignored += 1;
                    done.push(item);
                }
                DeliveryOutcome::Retry { delay, error, counted } => {
                    remainder.events.push(event("retry", None));
                    self.republisher.add_retry(item, delay, &error, counted);
                    republished = true;
                }
                DeliveryOutcome::DeadLetter(reject) => {
                    remainder.events.push(event("dead letter", Some(reject.reason.as_str())));
                    self.republisher.add_dead_letter(item, &reject);
                    republished = true;
                }
                DeliveryOutcome::InSteps(end) => {
                    remainder.events.push(event("in steps", None));
                    remainder.in_steps.push((item, end));
                }
                DeliveryOutcome::Hold => remainder.held.push(item),
            }
        }
        for at in done.iter().filter_map(|item| item.request.occurred_at()) {
            self.metrics.observe_age(now - at);
        }
        // The copies first, so that one acknowledgement may cover those that are confirmed too.
        let confirmed = if republished { self.republisher.publish().await } else { Vec::new() };
        self.acknowledge(done.into_iter().map(|item| item.delivery).collect(), confirmed).await?;
        self.metrics.messages.add(MessageOutcome::Applied, applied);
        self.metrics.messages.add(MessageOutcome::Ignored, ignored);
        Ok(remainder)
    }

    /// Lets items wait for a while because they fail and may not be at fault, so that others can show it.
    pub(super) async fn postpone(&mut self, items: Vec<Item>, why: &str) -> Result<(), ChannelGone> {
        for item in items {
            self.republisher.add_retry(item, UNCERTAIN_DELAY, why, false);
        }
        self.republish().await
    }

    /// Publishes again what is not confirmed yet.
    pub(super) async fn republish(&mut self) -> Result<(), ChannelGone> {
        let confirmed = self.republisher.publish().await;
        self.acknowledge(Vec::new(), confirmed).await
    }

    /// When [`republish`](Self::republish) is due, if a copy is waiting for it.
    pub(super) fn republish_due(&self) -> Option<Instant> {
        self.republisher.due()
    }

    async fn acknowledge(
        &mut self,
        mut settled: Vec<Delivery>,
        confirmed: Vec<PendingCopy>,
    ) -> Result<(), ChannelGone> {
        let purposes: Vec<_> = confirmed.iter().map(|republished| republished.purpose).collect();
        settled.extend(confirmed.into_iter().map(|republished| republished.delivery));
        self.acknowledger.acknowledge(settled).await?;
        for purpose in purposes {
            match purpose {
                Purpose::Retry => self.metrics.messages.add(MessageOutcome::Retried, 1),
                Purpose::DeadLetter(reason) => self.metrics.count_dead_letter(reason),
            }
        }
        Ok(())
    }
}

/// Logs what a message has ended: rows that are deleted are gone for good.
fn log_end(item: &Item, end: &EventEnd, rows: u64, kept: u64) {
    let team_id = end.team_id.map(tracing::field::display); // formatted only if the line is written
    let message_id = item.message_id.map(tracing::field::display);
    tracing::debug!(event_id = %end.event_id, team_id, message_id, rows, "event ended");
    if kept > 0 {
        tracing::warn!(event_id = %end.event_id, message_id, rows = kept, "a trigger or rule of the backend kept rows of an ended event");
    }
}
