use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::apply::{Applied, apply};
use super::intake::{Item, Request, intake};
use super::letters::Unsettled;
use super::settle::{Fate, fate};
use super::supervisor::{Pipeline, pause};
use crate::backoff::Pauses;
use crate::broker::{BrokerError, Delivery, Subscription, Taken};
use crate::clock;
use crate::lifecycle::Stop;
use crate::policy::{EventEnd, Rule, merge};
use crate::storage::AccessError;
use crate::telemetry::{Dependency, Outcome};

/// Messages a transaction. Measured: more of them make each batch longer without making the whole faster.
const BATCH: usize = 1_000;
/// A role from which row-level security came to hide rows meanwhile deletes nothing without an error.
const CHECK_ACCESS_EVERY: Duration = Duration::from_secs(10);

/// Why an epoch, or the work on one batch, has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Asked to stop.
    Stopped,
    /// Connection, channel or consumer gone.
    Lost,
    /// The database has been away for longer than a batch is held; with what it did not take.
    Outage(Vec<EventEnd>),
}

impl Pipeline {
    /// One subscription from its first message to its end.
    pub(super) async fn epoch(&self, subscription: &mut Subscription, stop: &Stop) -> End {
        let mut unsettled: Vec<Unsettled> = Vec::new();
        let mut pauses = Pauses::for_outage();
        let mut next_try = Instant::now();
        let mut checked = Instant::now();
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.soft.cancelled() => return End::Stopped,
                () = sleep_until(next_try), if !unsettled.is_empty() => None,
                taken = subscription.take(BATCH) => Some(taken),
            };
            let ended = match taken {
                Some(Taken::Batch(batch)) => {
                    if checked.elapsed() > CHECK_ACCESS_EVERY {
                        checked = Instant::now();
                        if self.has_lost_access().await {
                            return End::Outage(Vec::new());
                        }
                    }
                    self.work(batch, subscription, &mut unsettled, stop).await
                }
                Some(Taken::Ended(error)) => {
                    let error =
                        error.as_ref().map_or_else(|| "cancelled by the broker".to_owned(), BrokerError::one_line);
                    tracing::warn!(error, "subscription ended; beginning again");
                    Err(End::Lost)
                }
                None => self.send_letters(&mut unsettled).await,
            };
            if let Err(end) = ended {
                return end;
            }
            if let Err(error) = subscription.widen(!unsettled.is_empty()).await {
                tracing::warn!(error = error.one_line(), "subscription ended; beginning again");
                return End::Lost;
            }
            if unsettled.is_empty() {
                pauses.reset();
            } else if next_try <= Instant::now() {
                next_try = Instant::now() + pauses.next_pause();
            }
        }
    }

    /// Gives every delivery of the batch its fate; letters that could not be sent are added to `unsettled`.
    async fn work(
        &self,
        batch: Vec<Delivery>,
        subscription: &Subscription,
        unsettled: &mut Vec<Unsettled>,
        stop: &Stop,
    ) -> Result<(), End> {
        let began = Instant::now();
        let size = batch.len();
        let mut in_hand: Vec<Item> =
            batch.into_iter().map(|delivery| intake(delivery, self.options.max_message_bytes)).collect();
        let mut pauses = Pauses::for_outage();
        let mut whole = true;
        let mut held_since = began;
        loop {
            let applied = self.apply(&in_hand).await;
            let before = in_hand.len();
            in_hand = self.settle(in_hand, &applied, whole, unsettled).await?;
            if in_hand.is_empty() {
                if !applied.is_empty() {
                    self.health.set(Dependency::Postgres, true);
                    self.health.hold(false);
                }
                self.metrics.observe_batch(size, began.elapsed());
                tracing::debug!(messages = size, seconds = began.elapsed().as_secs_f64(), "batch settled");
                return Ok(());
            }
            whole = false;
            self.health.hold(true);
            if !subscription.is_alive() {
                return Err(End::Lost);
            }
            if in_hand.len() < before {
                held_since = Instant::now(); // some went through: it is no outage yet
            }
            if held_since.elapsed() > self.options.hold_at_most {
                tracing::warn!(messages = in_hand.len(), "outage outlasts the hold; messages go back to the queue");
                return Err(End::Outage(ends(&in_hand)));
            }
            pause(&mut pauses, stop).await;
            if stop.soft.is_cancelled() {
                return Err(End::Stopped);
            }
        }
    }

    /// One transaction for all event ends of the items, each distinct one once.
    async fn apply(&self, items: &[Item]) -> HashMap<Key, Applied> {
        let ends = ends(items);
        if ends.is_empty() {
            return HashMap::new();
        }
        let applied = apply(&self.database, &ends).await;
        self.count(&applied);
        ends.iter().map(key).zip(applied).collect()
    }

    pub(super) fn count(&self, applied: &[Applied]) {
        let rows = applied.iter().map(|applied| if let Applied::Done(rows) = applied { *rows } else { 0 }).sum();
        self.metrics.count_deleted(Rule::EventEnd, rows);
    }

    /// Whether the role may do the job no longer.
    async fn has_lost_access(&self) -> bool {
        match self.database.check_access().await {
            Err(error @ (AccessError::Role(_) | AccessError::Table(_) | AccessError::NotMigrated(_))) => {
                tracing::error!(%error, "cannot go on with this database; messages go back to the queue");
                self.health.set(Dependency::Postgres, false);
                true
            }
            // Whether it answers is found out by the work itself.
            Ok(()) | Err(AccessError::Storage(_)) => false,
        }
    }

    /// Gives each item its fate and returns those that are held. `whole`: items and `unsettled` are all that is not settled
    /// on the channel.
    async fn settle(
        &self,
        items: Vec<Item>,
        applied: &HashMap<Key, Applied>,
        whole: bool,
        unsettled: &mut Vec<Unsettled>,
    ) -> Result<Vec<Item>, End> {
        let now = clock::now();
        let mut done = Vec::with_capacity(items.len());
        let mut letters = Vec::new();
        let mut held = Vec::new();
        let mut ignored = 0;
        for item in items {
            let attempt = item.delivery.attempt(&self.options.topology);
            let result = if let Request::End(end) = &item.request { applied.get(&key(end)) } else { None };
            match fate(&item.request, result, attempt, self.options.max_attempts) {
                Fate::Hold => held.push(item),
                Fate::Applied => {
                    if let Request::End(end) = &item.request {
                        self.metrics.observe_age((now - end.occurred_at).as_seconds_f64());
                    }
                    done.push(item.delivery);
                }
                Fate::Ignored => {
                    if let Request::Ignore { occurred_at } = item.request {
                        self.metrics.observe_age((now - occurred_at).as_seconds_f64());
                    }
                    ignored += 1;
                    done.push(item.delivery);
                }
                Fate::Retry { delay, error } => letters.push(self.retry(item.delivery, delay, &error)),
                Fate::DeadLetter(reject) => letters.push(self.letter(item.delivery, &reject)),
            }
        }
        let applied = done.len() as u64 - ignored;
        if !letters.is_empty() {
            unsettled.append(&mut letters);
            // Confirmed ones are acknowledged there, one by one.
            self.send_letters(unsettled).await?;
        }
        // One acknowledgement for all: everything up to the last one is settled, here or above.
        if whole && held.is_empty() && unsettled.is_empty() {
            if let Some(last) = done.last() {
                acknowledge(last, true).await?;
            }
        } else {
            for delivery in &done {
                acknowledge(delivery, false).await?;
            }
        }
        self.metrics.count_messages(Outcome::Applied, applied);
        self.metrics.count_messages(Outcome::Ignored, ignored);
        Ok(held)
    }
}

/// The event ends that the items ask for, each distinct one once.
fn ends(items: &[Item]) -> Vec<EventEnd> {
    merge(items.iter().filter_map(|item| match &item.request {
        Request::End(end) => Some(*end),
        Request::Ignore { .. } | Request::Reject(_) => None,
    }))
}

/// What makes event ends the same for [`merge`].
type Key = (uuid::Uuid, Option<uuid::Uuid>);

const fn key(end: &EventEnd) -> Key {
    (end.event_id, end.team_id)
}

/// An acknowledgement that cannot reach the broker ends the epoch: the message will be delivered again.
pub(super) async fn acknowledge(delivery: &Delivery, multiple: bool) -> Result<(), End> {
    match delivery.ack(multiple).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(End::Lost),
        Err(error) => {
            tracing::warn!(error = error.one_line(), "could not acknowledge; the broker will deliver again");
            Err(End::Lost)
        }
    }
}
