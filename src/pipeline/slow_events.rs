//! Events that are done in steps, in slices of time between the batches of the others.

use std::time::Duration;

use tokio::time::Instant;

use super::apply::{Applied, after_steps, doubtful, is_outage};
use super::intake::Item;
use super::key::{Key, key};
use super::session::{End, Open};
use super::supervisor::Pipeline;
use super::suspects::Suspects;
use crate::policy::{EventEnd, Rule};
use crate::storage::{EventSteps, StorageError};

/// Between two batches of other messages, which wait for it.
const SLICE: Duration = Duration::from_secs(1);
/// Longer than this is told.
const TOLD_FROM: Duration = Duration::from_secs(5);
/// In flight at most: half of RabbitMQ's `consumer_timeout`. What is deleted by then stays deleted, and the message comes back to go on.
const IN_FLIGHT_AT_MOST: Duration = Duration::from_mins(15);
/// Sessions that end under an event before its messages wait.
const ENDED_SESSIONS: u32 = 3;

/// One event with the messages that ask for its end.
pub(super) struct Slow {
    items: Vec<Item>,
    steps: EventSteps,
    ended_sessions: u32,
}

impl Slow {
    pub(super) fn new(item: Item, end: EventEnd) -> Self {
        Self { items: vec![item], steps: EventSteps::new(end), ended_sessions: 0 }
    }

    /// Whether another message for the same end may join it.
    pub(super) fn takes(&self, end: &EventEnd) -> bool {
        self.key() == key(end) && !self.steps.has_begun()
    }

    pub(super) fn push(&mut self, item: Item, end: &EventEnd) {
        self.steps.extend_to(end.occurred_at);
        self.items.push(item);
    }

    pub(super) fn key(&self) -> Key {
        key(self.steps.end())
    }
}

impl Pipeline {
    /// One slice: goes on with the slow events in turn, and settles those that are done.
    pub(super) async fn slice(&self, open: &mut Open) -> Result<(), End> {
        let until = Instant::now() + SLICE;
        while let Some(mut slow) = open.slow.pop_front() {
            let before = slow.steps.deleted();
            let stepped = self.database.event_steps_advance(&mut slow.steps, &mut open.step_size, Some(until)).await;
            self.metrics.snapshots_deleted.add(Rule::EventEnd, slow.steps.deleted() - before);
            let applied = match stepped {
                Ok(Some(stepped)) => {
                    // What fails every row, such as a lock on the table, fails these one by one.
                    if let Some(error) = &stepped.error {
                        self.stop_at_outage(error).await?;
                    }
                    if stepped.error.is_none() && stepped.took > TOLD_FROM {
                        let seconds = stepped.took.as_secs_f64();
                        tracing::info!(event_id = %slow.key().0, rows = slow.steps.deleted(), seconds, "event ended in steps");
                    }
                    Some(after_steps(slow.key(), stepped, &mut open.suspects))
                }
                Ok(None) if slow.steps.elapsed() > IN_FLIGHT_AT_MOST => {
                    let text = format!("not done yet; {} of the event's snapshots are deleted", slow.steps.deleted());
                    Some(Applied::InDoubt(text))
                }
                Ok(None) => None,
                Err(error) => self.interrupted(&mut slow, &error, &mut open.suspects).await?,
            };
            match applied {
                Some(applied) => {
                    let applied = [(slow.key(), applied)].into();
                    self.settle(slow.items, &applied, false, open).await?;
                }
                None => open.slow.push_back(slow),
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// A step that says nothing about a row.
    async fn interrupted(
        &self,
        slow: &mut Slow,
        error: &StorageError,
        suspects: &mut Suspects,
    ) -> Result<Option<Applied>, End> {
        self.stop_at_outage(error).await?;
        slow.ended_sessions += 1;
        let gives_up = slow.ended_sessions >= ENDED_SESSIONS;
        Ok(gives_up.then(|| doubtful(slow.key(), error.one_line(), suspects)))
    }

    /// What is done by then stays done; the messages go back to the queue.
    async fn stop_at_outage(&self, error: &StorageError) -> Result<(), End> {
        if is_outage(&self.database, error).await {
            self.health.hold(true);
            return Err(End::Outage);
        }
        Ok(())
    }
}
