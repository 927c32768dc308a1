use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::apply::{Apply, EndOutcome};
use super::intake::Item;
use super::key::{Key, key};
use super::outage::is_outage;
use crate::clock;
use crate::policy::{EventEnd, Rule};
use crate::storage::{Database, EventSteps, StepSize, StorageError};
use crate::telemetry::Metrics;

/// Events that are large, slow, or have rows that cannot be deleted. They are ended in steps, in turn, between the batches of the others.
pub(super) struct SlowEvents<'a> {
    database: &'a Database,
    apply: &'a Apply,
    metrics: &'a Metrics,
    /// Remembered from session to session.
    step_size: &'a mut StepSize,
    events: VecDeque<SlowEvent>,
}

/// One event with the messages that ask for its end.
struct SlowEvent {
    items: Vec<Item>,
    /// For its trace.
    began: OffsetDateTime,
    steps: EventSteps,
    lost_sessions: u32,
}

/// An event on which nothing more is done for now: what became of it, and its messages.
pub(super) struct SlowEventEnd {
    pub(super) items: Vec<Item>,
    pub(super) began: OffsetDateTime,
    pub(super) key: Key,
    pub(super) outcome: EndOutcome,
}

/// Why nothing more is tried now. What was deleted until then stays deleted.
#[derive(Debug)]
pub(super) enum Halt {
    /// Every delete fails.
    Outage,
    /// An operator has paused consuming.
    Paused,
}

/// Between two batches of other messages, which wait for it.
pub(super) const SLICE: Duration = Duration::from_secs(1);
/// An event that took longer than this is logged.
const LOGGED_FROM: Duration = Duration::from_secs(5);
/// Messages stay unacknowledged for at most half of RabbitMQ's `consumer_timeout`. What is deleted by then stays deleted, and the message
/// comes back to go on.
const UNACKNOWLEDGED_AT_MOST: Duration = Duration::from_mins(15);
/// Database sessions that end under an event before its messages wait.
const LOST_SESSIONS: u32 = 3;

impl<'a> SlowEvents<'a> {
    pub(super) const fn new(
        database: &'a Database,
        apply: &'a Apply,
        metrics: &'a Metrics,
        step_size: &'a mut StepSize,
    ) -> Self {
        Self { database, apply, metrics, step_size, events: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn contains(&self, end: &EventEnd) -> bool {
        self.events.iter().any(|event| event.key() == key(end))
    }

    /// Adds a message to its event.
    pub(super) fn add(&mut self, item: Item, end: EventEnd) {
        match self.events.iter_mut().find(|event| event.accepts(&end)) {
            Some(event) => event.push(item, &end),
            None => self.events.push_back(SlowEvent::new(item, end)),
        }
    }

    /// Goes on with the events in turn, until one is finished or the time is over.
    ///
    /// An error about a row becomes the event's outcome. One that says nothing about a row is tried again, and becomes the outcome after
    /// some times.
    pub(super) async fn run(&mut self, until: Instant) -> Result<Option<SlowEventEnd>, Halt> {
        while Instant::now() < until {
            let Some(mut event) = self.events.pop_front() else { break };
            match self.step(&mut event, until).await? {
                Some(outcome) => {
                    let (key, SlowEvent { items, began, .. }) = (event.key(), event);
                    return Ok(Some(SlowEventEnd { items, began, key, outcome }));
                }
                None => self.events.push_back(event),
            }
        }
        Ok(None)
    }

    async fn step(&mut self, event: &mut SlowEvent, until: Instant) -> Result<Option<EndOutcome>, Halt> {
        let before = event.steps.deleted();
        let stepped = self.database.event_steps_advance(&mut event.steps, self.step_size, Some(until)).await;
        self.metrics.snapshots_deleted.add(Rule::EventEnd, event.steps.deleted() - before);
        match stepped {
            Ok(Some(stepped)) => {
                match &stepped.error {
                    // What fails every row, such as a lock on the table, fails these one by one.
                    Some(error) => self.halt_at(error).await?,
                    None if stepped.took > LOGGED_FROM => {
                        let seconds = stepped.took.as_secs_f64();
                        tracing::info!(event_id = %event.key().0, rows = event.steps.deleted(), seconds, "event ended in steps");
                    }
                    None => {}
                }
                Ok(Some(self.apply.after_steps(event.key(), stepped)))
            }
            Ok(None) if event.is_overdue() => {
                let deleted = event.steps.deleted();
                let text = format!("not done yet; {deleted} of the event's snapshots are deleted");
                Ok(Some(EndOutcome::Uncertain(text)))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.halt_at(&error).await?;
                event.lost_sessions += 1;
                let gives_up = event.lost_sessions >= LOST_SESSIONS;
                Ok(gives_up.then(|| self.apply.uncertain(event.key(), error.one_line())))
            }
        }
    }

    async fn halt_at(&self, error: &StorageError) -> Result<(), Halt> {
        if error.as_paused().is_some() {
            return Err(Halt::Paused);
        }
        if is_outage(self.database, error).await { Err(Halt::Outage) } else { Ok(()) }
    }
}

impl SlowEvent {
    fn new(item: Item, end: EventEnd) -> Self {
        Self { items: vec![item], began: clock::now(), steps: EventSteps::new(end), lost_sessions: 0 }
    }

    fn key(&self) -> Key {
        key(self.steps.end())
    }

    /// Whether its messages must go back to the broker.
    fn is_overdue(&self) -> bool {
        self.steps.elapsed() > UNACKNOWLEDGED_AT_MOST
    }

    /// Whether another message for the same end may join it.
    fn accepts(&self, end: &EventEnd) -> bool {
        self.key() == key(end) && !self.steps.has_begun()
    }

    fn push(&mut self, item: Item, end: &EventEnd) {
        self.steps.extend_to(end.occurred_at);
        self.items.push(item);
    }
}
