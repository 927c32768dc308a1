use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::apply::{Applied, apply};
use super::intake::{Item, Request, intake};
use super::settle::{Fate, fate};
use crate::backoff::Pauses;
use crate::broker::{
    BrokerAddress, BrokerError, Delivery, Outgoing, Publisher, Subscription, Taken, Topology, dead_letter,
    wait_for_retry,
};
use crate::clock::Clock;
use crate::lifecycle::Stop;
use crate::message::{Reason, Reject};
use crate::policy::{EventEnd, Rule, merge};
use crate::storage::{AccessError, Database};
use crate::telemetry::{Dependency, Health, Metrics, Outcome};

/// Messages a transaction. Measured: more of them make each batch longer without making the whole faster.
const BATCH: usize = 1_000;
/// How long a batch is held in hand during an outage. Well below RabbitMQ's `consumer_timeout` (30 minutes), and short enough
/// for another replica, which may reach the database where this one does not, to take over.
const HOLD_AT_MOST: Duration = Duration::from_mins(1);
/// A subscription that lasted this long was a good one: the next begins with the shortest pause.
const GOOD_EPOCH: Duration = Duration::from_secs(10);

/// Where and how messages are taken.
pub struct PipelineOptions {
    /// The broker.
    pub address: BrokerAddress,
    /// Its exchanges and queues.
    pub topology: Topology,
    /// Unacknowledged messages at most.
    pub prefetch: u16,
    /// Larger ones are dead-lettered unparsed.
    pub max_message_bytes: u32,
    /// Tries of a message that fails by itself.
    pub max_attempts: u32,
}

/// Takes messages and sees to it that each gets its fate, across all outages.
pub struct Pipeline {
    options: PipelineOptions,
    database: Database,
    publisher: Publisher,
    clock: Clock,
    health: Health,
    metrics: Metrics,
}

/// Why an epoch, or the work on one batch, has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Asked to stop.
    Stopped,
    /// Connection, channel or consumer gone.
    Lost,
    /// The database has been away for longer than a batch is held.
    Outage,
}

/// A delivery whose letter is not confirmed yet.
struct Unsettled {
    delivery: Delivery,
    letter: Outgoing,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Retry,
    DeadLetter(Reason),
}

impl Pipeline {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: PipelineOptions, database: Database, clock: Clock, health: Health, metrics: Metrics) -> Self {
        let publisher = Publisher::new(options.address.clone());
        Self { options, database, publisher, clock, health, metrics }
    }

    /// Works until asked to stop. Returns earlier only where the first contact with a server shows something that waiting
    /// will not mend, which is logged.
    pub async fn run(self, stop: Stop) {
        let mut pauses = Pauses::for_outage();
        let mut first_contact = true;
        while !stop.soft.is_cancelled() {
            // Nothing is taken that could not be worked on.
            if !self.database_answers(first_contact, &mut pauses, &stop).await {
                break;
            }
            match Subscription::open(&self.options.address, &self.options.topology, self.options.prefetch).await {
                Ok(mut subscription) => {
                    first_contact = false;
                    self.health.set(Dependency::Rabbitmq, true);
                    tracing::info!(
                        queue = self.options.topology.queue(),
                        prefetch = self.options.prefetch,
                        "consuming"
                    );
                    let began = Instant::now();
                    let end = tokio::select! {
                        end = self.epoch(&mut subscription, &stop) => end,
                        () = stop.hard.cancelled() => End::Stopped,
                    };
                    self.health.set(Dependency::Rabbitmq, end != End::Lost);
                    subscription.end().await;
                    if began.elapsed() > GOOD_EPOCH {
                        pauses.reset();
                    }
                    if end == End::Stopped {
                        break;
                    }
                }
                Err(error) => {
                    self.health.set(Dependency::Rabbitmq, false);
                    if first_contact && !error.is_transient() {
                        tracing::error!(
                            error = error.one_line(),
                            broker = self.options.address.host(),
                            "cannot work on this broker"
                        );
                        return;
                    }
                    tracing::warn!(
                        error = error.one_line(),
                        broker = self.options.address.host(),
                        "broker is away; trying again"
                    );
                }
            }
            pause(&mut pauses, &stop).await;
        }
        self.publisher.close().await;
    }

    /// Waits until the database answers and the role may do the job; `false` when there is no point in going on.
    async fn database_answers(&self, first_contact: bool, pauses: &mut Pauses, stop: &Stop) -> bool {
        while !stop.soft.is_cancelled() {
            match self.database.check_access().await {
                Ok(()) => {
                    self.health.set(Dependency::Postgres, true);
                    return true;
                }
                Err(AccessError::Storage(error)) if error.is_transient() || !first_contact => {
                    self.health.set(Dependency::Postgres, false);
                    tracing::warn!(error = error.one_line(), "database is away; taking no messages until it answers");
                }
                Err(AccessError::Storage(error)) => {
                    tracing::error!(error = error.one_line(), "cannot work on this database");
                    return false;
                }
                Err(error) => {
                    self.health.set(Dependency::Postgres, false);
                    tracing::error!(%error, "cannot work on this database");
                    if first_contact {
                        return false;
                    }
                }
            }
            pause(pauses, stop).await;
        }
        false
    }

    /// One subscription from its first message to its end.
    async fn epoch(&self, subscription: &mut Subscription, stop: &Stop) -> End {
        let mut unsettled: Vec<Unsettled> = Vec::new();
        let mut pauses = Pauses::for_outage();
        let mut next_try = Instant::now();
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.soft.cancelled() => return End::Stopped,
                () = sleep_until(next_try), if !unsettled.is_empty() => None,
                taken = subscription.take(BATCH) => Some(taken),
            };
            let ended = match taken {
                Some(Taken::Batch(batch)) => self.work(batch, subscription, &mut unsettled, stop).await,
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
        loop {
            let applied = self.apply(&in_hand).await;
            in_hand = self.settle(in_hand, &applied, whole, unsettled).await?;
            if in_hand.is_empty() {
                self.health.set(Dependency::Postgres, true);
                self.metrics.observe_batch(size, began.elapsed());
                tracing::debug!(messages = size, took_ms = began.elapsed().as_millis(), "batch settled");
                return Ok(());
            }
            whole = false;
            self.health.set(Dependency::Postgres, false);
            if !subscription.is_alive() {
                return Err(End::Lost);
            }
            if began.elapsed() > HOLD_AT_MOST {
                tracing::warn!(messages = in_hand.len(), "outage outlasts the hold; messages go back to the queue");
                return Err(End::Outage);
            }
            pause(&mut pauses, stop).await;
            if stop.soft.is_cancelled() {
                return Err(End::Stopped);
            }
        }
    }

    /// One transaction for all event ends of the items, each distinct one once.
    async fn apply(&self, items: &[Item]) -> HashMap<Key, Applied> {
        let ends = merge(items.iter().filter_map(|item| match &item.request {
            Request::End(end) => Some(*end),
            Request::Ignore { .. } | Request::Reject(_) => None,
        }));
        if ends.is_empty() {
            return HashMap::new();
        }
        let applied = apply(&self.database, &ends).await;
        let rows = applied.iter().map(|applied| if let Applied::Done(rows) = applied { *rows } else { 0 }).sum();
        self.metrics.count_deleted(Rule::EventEnd, rows);
        ends.iter().map(key).zip(applied).collect()
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
        let now = self.clock.now();
        let mut done = Vec::with_capacity(items.len());
        let mut letters = Vec::new();
        let mut held = Vec::new();
        let mut ignored = 0;
        for item in items {
            let attempt = item.delivery.attempt();
            let result = if let Request::End(end) = &item.request { applied.get(&key(end)) } else { None };
            match fate(&item.request, result, attempt, self.options.max_attempts) {
                Fate::Hold => held.push(item),
                Fate::Applied { .. } => {
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

    fn retry(&self, delivery: Delivery, delay: usize, error: &str) -> Unsettled {
        tracing::warn!(
            attempt = delivery.attempt(),
            message_id = delivery.envelope().message_id,
            error,
            "message failed by itself; it waits for another try"
        );
        let letter = wait_for_retry(&self.options.topology, &delivery, delay, error);
        Unsettled { delivery, letter, purpose: Purpose::Retry }
    }

    fn letter(&self, delivery: Delivery, reject: &Reject) -> Unsettled {
        tracing::warn!(
            reason = reject.reason.as_str(),
            attempt = delivery.attempt(),
            message_id = delivery.envelope().message_id,
            bytes = delivery.body().len(),
            "message goes to the dead-letter queue"
        );
        let letter = dead_letter(&self.options.topology, &delivery, reject, self.clock.now());
        Unsettled { delivery, letter, purpose: Purpose::DeadLetter(reject.reason) }
    }

    /// Publishes the letters and acknowledges the originals of those that are confirmed; the others stay in the list, to be
    /// sent again. A letter may so be there twice; it is never lost.
    async fn send_letters(&self, unsettled: &mut Vec<Unsettled>) -> Result<(), End> {
        let letters: Vec<_> = unsettled.iter().map(|unsettled| &unsettled.letter).collect();
        let answers = self.publisher.publish(&letters).await;
        let mut left = Vec::new();
        let mut error = None;
        for (sent, answer) in unsettled.drain(..).zip(answers) {
            match answer {
                Ok(()) => {
                    acknowledge(&sent.delivery, false).await?;
                    match sent.purpose {
                        Purpose::Retry => self.metrics.count_messages(Outcome::Retried, 1),
                        Purpose::DeadLetter(reason) => self.metrics.count_dead_letter(reason),
                    }
                }
                Err(refused) => {
                    error = Some(refused);
                    left.push(sent);
                }
            }
        }
        if let Some(error) = error {
            tracing::warn!(letters = left.len(), %error, "letters could not be placed; their messages stay in hand");
        }
        *unsettled = left;
        Ok(())
    }
}

/// What makes event ends the same for [`merge`].
type Key = (uuid::Uuid, Option<uuid::Uuid>);

const fn key(end: &EventEnd) -> Key {
    (end.event_id, end.team_id)
}

/// An acknowledgement that cannot reach the broker ends the epoch: the message will be delivered again.
async fn acknowledge(delivery: &Delivery, multiple: bool) -> Result<(), End> {
    match delivery.ack(multiple).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(End::Lost),
        Err(error) => {
            tracing::warn!(error = error.one_line(), "could not acknowledge; the broker will deliver again");
            Err(End::Lost)
        }
    }
}

async fn pause(pauses: &mut Pauses, stop: &Stop) {
    tokio::select! {
        () = sleep(pauses.next_pause()) => {}
        () = stop.soft.cancelled() => {}
    }
}
