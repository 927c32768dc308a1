use std::collections::HashMap;
use std::future::ready;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::apply::{Apply, EndOutcome};
use super::batch::Batch;
use super::intake::{Intake, Item};
use super::key::{Key, key};
use super::outage::deletes_succeed;
use super::settle::Settle;
use super::slow_events::{Halt, SLICE, SlowEvents};
use crate::backoff::Backoff;
use crate::broker::{BrokerError, ChannelGone, Delivery, Subscription};
use crate::clock;
use crate::lifecycle::Stop;
use crate::policy::Activity;
use crate::storage::Database;
use crate::telemetry::{BatchStep, Dependency, Health, Metrics, Traces};

/// Messages per transaction. More of them make each batch longer without making the whole faster (`tests/bench/drain`).
const BATCH: usize = 1_000;
/// How long it waits for messages in one turn.
const IDLE_AT_MOST: Duration = Duration::from_secs(30);

/// One subscription, from its first message to its end. It owns what outlives a batch: what is open on the channel, and the slow events.
pub(super) struct Session<'a> {
    pub(super) subscription: Subscription,
    pub(super) intake: Intake,
    pub(super) apply: &'a Apply,
    pub(super) settle: Settle<'a>,
    pub(super) slow_events: SlowEvents<'a>,
    pub(super) database: &'a Database,
    pub(super) health: &'a Health,
    pub(super) metrics: &'a Metrics,
    pub(super) traces: &'a Traces,
    /// How long a batch is held during an outage.
    pub(super) hold_at_most: Duration,
}

/// Why a session has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// Asked to stop.
    Stopped,
    /// The connection, channel or consumer is gone.
    Lost,
    /// The database has been unavailable for longer than a batch is held.
    Outage,
    /// An operator has paused consuming.
    Paused,
}

impl Session<'_> {
    /// Works until the subscription ends, for whatever reason. What is unacknowledged then is delivered again.
    pub(super) async fn run(&mut self, stop: &Stop) -> SessionEnd {
        let mut uncertainty = Backoff::for_outage();
        loop {
            stop.heartbeat.back_after(Duration::ZERO);
            let looks_like_an_outage = self.apply.suspects().look_like_an_outage();
            self.health.hold(looks_like_an_outage);
            if looks_like_an_outage {
                // Others are still received, since they may succeed, but no faster than in an outage.
                stop.sleep(uncertainty.next_delay()).await;
            } else {
                uncertainty.reset();
            }
            if let Err(end) = self.turn(looks_like_an_outage, stop).await {
                return end;
            }
        }
    }

    /// Returns what is unacknowledged to the queue.
    pub(super) async fn close(self) {
        self.subscription.close().await;
    }

    /// One batch, or one attempt to republish, and one slice of the slow events, so that neither waits for the end of the other.
    async fn turn(&mut self, looks_like_an_outage: bool, stop: &Stop) -> Result<(), SessionEnd> {
        let due = self.settle.republish_due();
        let other_work = looks_like_an_outage || !self.slow_events.is_empty();
        let received = tokio::select! {
            biased;
            () = stop.soft.cancelled() => return Err(SessionEnd::Stopped),
            () = self.health.paused(Activity::Consume) => return Err(SessionEnd::Paused),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
            received = self.subscription.next_batch(BATCH) => Some(received),
            () = sleep(IDLE_AT_MOST) => None, // to say that this loop turns
            () = ready(()), if other_work => None,
        };
        match received {
            Some(Ok(deliveries)) => self.work(deliveries, stop).await?,
            Some(Err(end)) => {
                tracing::warn!(error = %end, "subscription ended; reconnecting");
                return Err(SessionEnd::Lost);
            }
            None if due.is_some_and(|due| due <= Instant::now()) => {
                self.settle.republish().await.map_err(|error| unacknowledged(&error))?;
            }
            None => {}
        }
        self.run_slow_events().await?;
        let waiting = self.settle.republish_due().is_some() || !self.slow_events.is_empty();
        self.subscription.raise_prefetch(waiting).await.map_err(|error| lost(&error))
    }

    /// The steps of one batch, until none of it is held any more.
    ///
    /// In an outage the whole batch is held, and tried again at growing intervals. Held for too long, it goes back to the queue.
    async fn work(&mut self, deliveries: Vec<Delivery>, stop: &Stop) -> Result<(), SessionEnd> {
        self.settle.opened(&deliveries);
        let mut batch = Batch::new(self.intake.read(deliveries));
        let mut span = self.traces.batch(clock::now(), batch.items().iter().map(Item::origin));
        loop {
            let ended = self.end_events(&batch).await;
            span.step(BatchStep::Delete);
            let remainder = self.settle.run(batch.take(), &ended).await.map_err(|error| unacknowledged(&error))?;
            span.step(BatchStep::Settle);
            span.events(remainder.events);
            for (item, end) in remainder.in_steps {
                self.slow_events.add(item, end);
            }
            batch.hold(remainder.held, ended.values().any(|outcome| matches!(outcome, EndOutcome::Done { .. })));
            if batch.is_settled() {
                span.settled();
                if !ended.is_empty() {
                    self.health.set(Dependency::Postgres, true);
                }
                self.metrics.batch_messages.observe(batch.size() as f64);
                self.metrics.batch_seconds.observe(batch.elapsed().as_secs_f64());
                tracing::debug!(messages = batch.size(), seconds = batch.elapsed().as_secs_f64(), "batch settled");
                return Ok(());
            }
            if ended.values().any(|outcome| *outcome == EndOutcome::Paused) {
                return Err(SessionEnd::Paused);
            }
            span.held();
            self.health.hold(true);
            if !self.subscription.is_alive() {
                return Err(SessionEnd::Lost);
            }
            if batch.held_for() > self.hold_at_most {
                return self.release(batch).await;
            }
            if !stop.sleep(batch.next_delay()).await {
                return Err(SessionEnd::Stopped);
            }
            span.resume();
        }
    }

    /// What became of the batch's event ends. An event that is ended in steps is not tried with the others, which it would only hold up.
    async fn end_events(&self, batch: &Batch) -> HashMap<Key, EndOutcome> {
        let (in_steps, ends): (Vec<_>, Vec<_>) =
            batch.ends().into_iter().partition(|end| self.slow_events.contains(end));
        let mut ended = self.apply.run(&ends).await;
        ended.extend(in_steps.iter().map(|end| (key(end), EndOutcome::InSteps)));
        ended
    }

    /// Messages that were held for long enough go back to the queue, and nothing is consumed until the database takes deletes. If it does
    /// take them, and only these fail, they are postponed, so that others can show whose fault it is.
    async fn release(&mut self, mut batch: Batch) -> Result<(), SessionEnd> {
        let held = batch.take();
        if !deletes_succeed(self.database).await {
            tracing::warn!(
                messages = held.len(),
                "database has been unavailable for too long; returning messages to the queue"
            );
            return Err(SessionEnd::Outage);
        }
        let why = "its event's snapshots cannot be deleted, and nothing else has passed since";
        self.settle.postpone(held, why).await.map_err(|error| unacknowledged(&error))
    }

    /// One slice of the slow events; settles those that are finished.
    async fn run_slow_events(&mut self) -> Result<(), SessionEnd> {
        let until = Instant::now() + SLICE;
        loop {
            let finished = match self.slow_events.run(until).await {
                Ok(Some(finished)) => finished,
                Ok(None) => return Ok(()),
                Err(Halt::Paused) => return Err(SessionEnd::Paused),
                Err(Halt::Outage) => {
                    self.health.hold(true);
                    return Err(SessionEnd::Outage);
                }
            };
            let mut span = self.traces.batch(finished.began, finished.items.iter().map(Item::origin));
            span.step(BatchStep::Delete);
            let outcome = [(finished.key, finished.outcome)].into();
            let remainder = self.settle.run(finished.items, &outcome).await.map_err(|error| unacknowledged(&error))?;
            span.step(BatchStep::Settle);
            span.events(remainder.events);
            span.settled();
            let again = remainder.held.into_iter().filter_map(|item| item.request.end().map(|end| (item, end)));
            for (item, end) in remainder.in_steps.into_iter().chain(again) {
                self.slow_events.add(item, end);
            }
        }
    }
}

fn unacknowledged(error: &ChannelGone) -> SessionEnd {
    tracing::warn!(%error, "could not acknowledge; the broker will deliver again");
    SessionEnd::Lost
}

fn lost(error: &BrokerError) -> SessionEnd {
    tracing::warn!(error = error.one_line(), "subscription ended; reconnecting");
    SessionEnd::Lost
}
