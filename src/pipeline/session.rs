use std::collections::{HashMap, HashSet, VecDeque};
use std::future::ready;

use tokio::time::{Instant, sleep_until};

use super::apply::{Applied, apply, takes_deletes};
use super::intake::{Item, intake};
use super::key::{Key, key};
use super::republish::Unsettled;
use super::settle::{DELAY_IN_DOUBT, Fate, fate};
use super::slow_events::Slow;
use super::supervisor::{Pipeline, pause};
use super::suspects::Suspects;
use crate::backoff::Backoff;
use crate::broker::{Delivery, Subscription};
use crate::clock;
use crate::lifecycle::Stop;
use crate::policy::{EventEnd, Rule, merge};
use crate::storage::StepSize;
use crate::telemetry::{Dependency, Outcome};

/// Messages a transaction. Measured: more of them make each batch longer without making the whole faster.
const BATCH: usize = 1_000;

/// Why an epoch, or the work on one batch, has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Asked to stop.
    Stopped,
    /// Connection, channel or consumer gone.
    Lost,
    /// The database has been away for longer than a batch is held.
    Outage,
}

/// What is settled later than its batch, and what is remembered beyond it.
#[derive(Default)]
pub(super) struct Open {
    /// Messages whose retry copy or dead letter is not confirmed yet.
    pub(super) letters: Vec<Unsettled>,
    /// Messages whose events are done in steps.
    pub(super) slow: VecDeque<Slow>,
    /// The size of those steps.
    pub(super) step_size: StepSize,
    /// Events whose errors may be the database's.
    pub(super) suspects: Suspects,
}

impl Open {
    /// Whether all that was taken before is settled, so that one acknowledgement of several covers nothing else.
    fn is_settled(&self) -> bool {
        self.letters.is_empty() && self.slow.is_empty()
    }

    /// When the channel has ended: the broker gives its messages to somebody again.
    pub(super) fn let_go(&mut self) {
        self.letters.clear();
        self.slow.clear();
    }

    fn is_in_steps(&self, end: &EventEnd) -> bool {
        self.slow.iter().any(|slow| slow.key() == key(end))
    }

    fn add_slow(&mut self, item: Item, end: EventEnd) {
        match self.slow.iter_mut().find(|slow| slow.takes(&end)) {
            Some(slow) => slow.push(item, &end),
            None => self.slow.push_back(Slow::new(item, end)),
        }
    }
}

impl Pipeline {
    /// One subscription from its first message to its end.
    pub(super) async fn epoch(&self, subscription: &mut Subscription, open: &mut Open, stop: &Stop) -> End {
        let mut pauses = Backoff::for_outage();
        let mut next_try = Instant::now();
        let mut doubts = Backoff::for_outage();
        loop {
            let in_doubt = open.suspects.look_like_an_outage();
            self.health.hold(in_doubt);
            if in_doubt {
                // Others are still taken, since they may pass, but no faster than an outage would have it.
                pause(&mut doubts, stop).await;
            } else {
                doubts.reset();
            }
            let taken = tokio::select! {
                biased;
                () = stop.soft.cancelled() => return End::Stopped,
                () = sleep_until(next_try), if !open.letters.is_empty() => None,
                taken = subscription.next_batch(BATCH) => Some(taken),
                () = ready(()), if in_doubt || !open.slow.is_empty() => None,
            };
            let ended = match taken {
                Some(Ok(batch)) => self.work(batch, subscription, open, stop).await,
                Some(Err(end)) => {
                    tracing::warn!(error = %end, "subscription ended; beginning again");
                    Err(End::Lost)
                }
                None if !open.letters.is_empty() && next_try <= Instant::now() => {
                    self.send_letters(&mut open.letters).await
                }
                None => Ok(()),
            };
            // A slice after each batch, so that neither waits for the end of the other.
            let ended = match ended {
                Ok(()) => self.slice(open).await,
                Err(end) => Err(end),
            };
            if let Err(end) = ended {
                return end;
            }
            if let Err(error) = subscription.raise_prefetch(!open.is_settled()).await {
                tracing::warn!(error = error.one_line(), "subscription ended; beginning again");
                return End::Lost;
            }
            if open.letters.is_empty() {
                pauses.reset();
            } else if next_try <= Instant::now() {
                next_try = Instant::now() + pauses.next_delay();
            }
        }
    }

    /// Settles every delivery of the batch, but for those that are added to `open`.
    async fn work(
        &self,
        batch: Vec<Delivery>,
        subscription: &Subscription,
        open: &mut Open,
        stop: &Stop,
    ) -> Result<(), End> {
        let began = Instant::now();
        let size = batch.len();
        let now = clock::now();
        let mut in_hand: Vec<Item> =
            batch.into_iter().map(|delivery| intake(delivery, self.options.max_message_bytes, now)).collect();
        let mut pauses = Backoff::for_outage();
        let mut whole = true;
        let mut held_since = began;
        loop {
            let applied = self.apply(&in_hand, open).await;
            in_hand = self.settle(in_hand, &applied, whole, open).await?;
            if in_hand.is_empty() {
                if !applied.is_empty() {
                    self.health.set(Dependency::Postgres, true);
                }
                self.metrics.batch_messages.observe(size as f64);
                self.metrics.batch_seconds.observe(began.elapsed().as_secs_f64());
                tracing::debug!(messages = size, seconds = began.elapsed().as_secs_f64(), "batch settled");
                return Ok(());
            }
            whole = false;
            self.health.hold(true);
            if !subscription.is_alive() {
                return Err(End::Lost);
            }
            if applied.values().any(|applied| matches!(applied, Applied::Done { .. })) {
                // Some went through: it is no outage yet.
                held_since = Instant::now();
                pauses.reset();
            }
            if held_since.elapsed() > self.options.hold_at_most {
                return self.let_go(in_hand, open).await;
            }
            pause(&mut pauses, stop).await;
            if stop.soft.is_cancelled() {
                return Err(End::Stopped);
            }
        }
    }

    /// Messages that were held for long enough go back to the queue, where nothing is taken until the database takes deletes. Where it takes
    /// them, and only these fail, they wait elsewhere, so that others can show whose fault it is.
    async fn let_go(&self, held: Vec<Item>, open: &mut Open) -> Result<(), End> {
        if !takes_deletes(&self.database).await {
            tracing::warn!(messages = held.len(), "outage outlasts the hold; messages go back to the queue");
            return Err(End::Outage);
        }
        let why = "its event's snapshots cannot be deleted, and nothing else has passed since";
        open.letters.extend(held.into_iter().map(|item| self.retry(item, DELAY_IN_DOUBT, why, false)));
        self.send_letters(&mut open.letters).await
    }

    /// One transaction for all event ends of the items, each distinct one once.
    async fn apply(&self, items: &[Item], open: &mut Open) -> HashMap<Key, Applied> {
        let ends = merge(items.iter().filter_map(|item| item.request.end()));
        if ends.is_empty() {
            return HashMap::new();
        }
        // To try what is in steps with the others would only hold those up.
        let (in_steps, ends): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| open.is_in_steps(end));
        let applied = apply(&self.database, &ends, &mut open.suspects).await;
        let rows = applied.iter().map(|applied| if let Applied::Done { rows, .. } = applied { *rows } else { 0 }).sum();
        self.metrics.snapshots_deleted.add(Rule::EventEnd, rows);
        let in_steps = in_steps.iter().map(|end| (key(end), Applied::InSteps));
        ends.iter().map(key).zip(applied).chain(in_steps).collect()
    }

    /// Settles each item by its outcome and returns those that are held. `whole`: items and `open` are all that is not settled
    /// on the channel.
    pub(super) async fn settle(
        &self,
        items: Vec<Item>,
        applied: &HashMap<Key, Applied>,
        whole: bool,
        open: &mut Open,
    ) -> Result<Vec<Item>, End> {
        let now = clock::now();
        let mut done = Vec::with_capacity(items.len());
        let mut letters = Vec::new();
        let mut held = Vec::new();
        let mut ignored = 0;
        let mut told = HashSet::new();
        for item in items {
            let attempt = item.delivery.attempt(&self.options.topology);
            let end = item.request.end();
            let result = end.and_then(|end| applied.get(&key(&end)));
            match fate(&item.request, result, attempt, self.options.max_attempts) {
                Fate::Hold => held.push(item),
                Fate::InSteps => {
                    if let Some(end) = end {
                        open.add_slow(item, end);
                    }
                }
                Fate::Applied | Fate::Ignored => {
                    if let (Some(end), Some(Applied::Done { rows, kept })) = (end, result) {
                        let first = told.insert(key(&end));
                        tell(&item, &end, if first { (*rows, *kept) } else { (0, 0) });
                    } else {
                        ignored += 1;
                    }
                    if let Some(at) = item.request.occurred_at() {
                        self.metrics.observe_age(now - at);
                    }
                    done.push(item.delivery);
                }
                Fate::Retry { delay, error, counted } => letters.push(self.retry(item, delay, &error, counted)),
                Fate::DeadLetter(reject) => letters.push(self.letter(item, &reject)),
            }
        }
        let applied = done.len() as u64 - ignored;
        if !letters.is_empty() {
            open.letters.append(&mut letters);
            // Confirmed ones are acknowledged there, one by one.
            self.send_letters(&mut open.letters).await?;
        }
        // One acknowledgement for all: everything up to the last one is settled, here or above.
        if whole && held.is_empty() && open.is_settled() {
            if let Some(last) = done.last() {
                acknowledge(last, true).await?;
            }
        } else {
            for delivery in &done {
                acknowledge(delivery, false).await?;
            }
        }
        self.metrics.messages.add(Outcome::Applied, applied);
        self.metrics.messages.add(Outcome::Ignored, ignored);
        Ok(held)
    }
}

/// Says what a message has ended: rows that are gone are gone for good. Of several messages for one event the first has the count.
fn tell(item: &Item, end: &EventEnd, (rows, kept): (u64, u64)) {
    let team_id = end.team_id.map(tracing::field::display); // written only where somebody reads it
    let message_id = item.message_id.map(tracing::field::display);
    tracing::debug!(event_id = %end.event_id, team_id, message_id, rows, "event ended");
    if kept > 0 {
        tracing::warn!(event_id = %end.event_id, message_id, rows = kept, "a trigger or rule of the backend kept rows of an ended event");
    }
}

/// An acknowledgement that cannot reach the broker ends the epoch: the message will be delivered again.
pub(super) async fn acknowledge(delivery: &Delivery, multiple: bool) -> Result<(), End> {
    delivery.ack(multiple).await.map_err(|error| {
        tracing::warn!(%error, "could not acknowledge; the broker will deliver again");
        End::Lost
    })
}
