use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::key::{Key, key};
use super::outage::is_outage;
use super::suspects::Suspects;
use crate::policy::{EventEnd, Rule};
use crate::storage::{Database, EventEndOutcome, Limits, StepsOutcome, StorageError, Verdict};
use crate::telemetry::Metrics;

/// The second step: from event ends to deleted rows. All in one transaction if that works; otherwise narrowed down to the end that makes
/// it fail.
pub(super) struct Apply {
    database: Database,
    metrics: Metrics,
    suspects: Suspects,
}

/// What became of one event end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EndOutcome {
    /// Committed.
    Done {
        /// Rows that are gone.
        rows: u64,
        /// Rows that a trigger or rule of the backend kept.
        kept: u64,
    },
    /// Committed; nothing was deleted, because the snapshots belong to these other teams.
    TeamMismatch(Vec<Uuid>),
    /// Only this one fails; other deletes succeed.
    Failed(String),
    /// It fails, and nothing shows yet whether others do too. Not counted as an attempt of the message.
    Uncertain(String),
    /// Too much for one statement, or one of its rows cannot be deleted: to be done in steps, after the others.
    InSteps,
    /// No delete would succeed now. Not counted as an attempt of the message.
    Held,
    /// An operator has paused consuming, so it was not tried. Not counted as an attempt of the message.
    Paused,
}

/// For the whole batch: long enough for a busy database, short enough to notice an event that is too large for it. A lock is waited
/// for shorter than PostgreSQL's `deadlock_timeout`, 1 s: of two transactions that wait for each other it ends the one whose wait is
/// as old as that, and here that should be ours and not the backend's.
const WHOLE: Limits = Limits { lock: Duration::from_millis(500), statement: Duration::from_secs(2) };
/// While narrowing down: the neighbours of the one that hangs are waiting.
const NARROWED: Limits = Limits { lock: Duration::from_millis(250), statement: Duration::from_millis(500) };
/// Narrowing down a batch full of locked rows takes a timeout for each; after this the rest is held, so that what is done can be
/// acknowledged and a stop be noticed.
const NARROW_AT_MOST: Duration = Duration::from_secs(20);
/// After this many events that fail alone, in a way that may be the database's, it is asked whether any other delete has succeeded. If
/// none has, trying all of them would cost a database in an outage one transaction per message, again and again.
const UNCERTAIN_PER_CHECK: usize = 10;
/// The victim of a deadlock can be tried again; more often than this it is no coincidence.
const CONFLICT_TRIES: u32 = 3;

impl Apply {
    pub(super) fn new(database: Database, metrics: Metrics) -> Self {
        Self { database, metrics, suspects: Suspects::default() }
    }

    pub(super) const fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Ends the events (distinct, in the order of [`crate::policy::merge`]), one outcome each. Never fails: an error becomes an outcome
    /// of the ends that it concerns, and those that were not tried are held.
    pub(super) async fn run(&self, ends: &[EventEnd]) -> HashMap<Key, EndOutcome> {
        let outcomes = self.outcomes(ends).await;
        let rows = outcomes.iter().map(|outcome| if let EndOutcome::Done { rows, .. } = outcome { *rows } else { 0 });
        self.metrics.snapshots_deleted.add(Rule::EventEnd, rows.sum());
        ends.iter().map(key).zip(outcomes).collect()
    }

    async fn outcomes(&self, ends: &[EventEnd]) -> Vec<EndOutcome> {
        let mut outcomes = vec![EndOutcome::Held; ends.len()];
        if ends.is_empty() {
            return outcomes;
        }
        let whole = 0..ends.len();
        let mut todo = vec![whole];
        let mut uncertain = 0;
        let deadline = Instant::now() + NARROW_AT_MOST;
        while Instant::now() < deadline
            && let Some(part) = todo.pop()
        {
            let error = match self.end_part(&ends[part.clone()], limits(&part, ends)).await {
                Ok(ended) => {
                    for (position, ended) in part.zip(ended) {
                        outcomes[position] = succeeded(key(&ends[position]), ended, &self.suspects);
                    }
                    continue;
                }
                Err(error) => error,
            };
            if error.as_paused().is_some() {
                outcomes.iter_mut().filter(|it| **it == EndOutcome::Held).for_each(|it| *it = EndOutcome::Paused);
                return outcomes;
            }
            // No delete would succeed now: hold the rest; this says nothing about any single message.
            if is_outage(&self.database, &error).await {
                return outcomes;
            }
            if part.len() > 1 {
                tracing::debug!(events = part.len(), error = error.one_line(), "batch failed; narrowing it down");
                todo.extend(parts(&part, error.verdict()).into_iter().rev());
                continue;
            }
            outcomes[part.start] = EndOutcome::InSteps;
            if is_uncertain(&error) {
                self.suspects.note(key(&ends[part.start]));
                uncertain += 1;
                if uncertain % UNCERTAIN_PER_CHECK == 0 && self.suspects.look_like_an_outage() {
                    tracing::warn!(
                        events = uncertain,
                        error = error.one_line(),
                        sqlstate = error.code(),
                        "one event after the other fails and none succeeds; holding the others"
                    );
                    break;
                }
            }
        }
        outcomes
    }

    async fn end_part(&self, ends: &[EventEnd], limits: Limits) -> Result<Vec<EventEndOutcome>, StorageError> {
        let mut tries = 1;
        loop {
            match self.database.event_end_delete(ends, limits).await {
                Err(error) if error.verdict() == Verdict::Conflict && tries < CONFLICT_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// The outcome of an event that was done in steps.
    pub(super) fn after_steps(&self, key: Key, stepped: StepsOutcome) -> EndOutcome {
        let Some(error) = stepped.error else { return succeeded(key, stepped.ended, &self.suspects) };
        let text = format!("{}: {}", stepped.failed, error.one_line());
        let some_succeeded = matches!(stepped.ended, EventEndOutcome::Deleted { rows: 1.., .. });
        if !is_uncertain(&error) || some_succeeded { EndOutcome::Failed(text) } else { self.uncertain(key, text) }
    }

    /// The outcome of an event that fails in a way that may be the database's.
    pub(super) fn uncertain(&self, key: Key, error: String) -> EndOutcome {
        if self.suspects.failed(key) { EndOutcome::Failed(error) } else { EndOutcome::Uncertain(error) }
    }
}

/// The outcome of a delete that went through. Only one that took rows shows that others pass.
fn succeeded(key: Key, ended: EventEndOutcome, suspects: &Suspects) -> EndOutcome {
    match ended {
        EventEndOutcome::Deleted { rows, kept } => {
            if rows > 0 {
                suspects.passed(key);
            }
            EndOutcome::Done { rows, kept }
        }
        EventEndOutcome::TeamMismatch(owners) => EndOutcome::TeamMismatch(owners),
    }
}

/// Whether the error may be the database's rather than the event's own. A trigger may raise any of them.
fn is_uncertain(error: &StorageError) -> bool {
    match error.verdict() {
        Verdict::Outage | Verdict::Conflict => true,
        Verdict::Timeout | Verdict::Refused => false,
    }
}

/// A whole batch may take longer than a part of one that has failed.
fn limits(part: &Range<usize>, ends: &[EventEnd]) -> Limits {
    if part.len() == ends.len() { WHOLE } else { NARROWED }
}

/// The parts of one that failed. A timeout costs half a second, so there are few levels; a refusal costs next to nothing, so there are few
/// statements.
fn parts(part: &Range<usize>, verdict: Verdict) -> Vec<Range<usize>> {
    let parts = match verdict {
        Verdict::Timeout => 8,
        Verdict::Refused | Verdict::Conflict | Verdict::Outage => 2,
    };
    let length = part.len().div_ceil(parts);
    part.clone().step_by(length).map(|start| start..(start + length).min(part.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many parts fail until the bad event is alone.
    fn failures(events: usize, bad: usize, verdict: Verdict) -> usize {
        let (mut part, mut failures) = (0..events, 1);
        while part.len() > 1 {
            let smaller = parts(&part, verdict);
            assert_eq!(smaller.iter().cloned().flatten().collect::<Vec<_>>(), part.clone().collect::<Vec<_>>());
            part = smaller.into_iter().find(|part| part.contains(&bad)).unwrap();
            failures += 1;
        }
        failures
    }

    #[test]
    fn one_slow_event_is_found_in_few_time_outs() {
        for bad in [0, 1, 124, 125, 500, 998, 999] {
            assert!(failures(1_000, bad, Verdict::Timeout) <= 5, "{bad}");
            assert!(failures(201, bad % 201, Verdict::Timeout) <= 4, "{bad}");
            assert!(failures(1_000, bad, Verdict::Refused) <= 11, "{bad}");
        }
    }

    #[test]
    fn whole_batch_may_take_longer_than_its_parts() {
        let end = EventEnd { event_id: Uuid::nil(), team_id: None, occurred_at: time::OffsetDateTime::UNIX_EPOCH };
        assert_eq!(limits(&(0..2), &[end; 2]).statement, WHOLE.statement);
        assert_eq!(limits(&(0..1), &[end; 2]).statement, NARROWED.statement);
    }

    #[test]
    fn only_a_delete_of_rows_shows_that_others_pass() {
        let key = |event| (Uuid::from_u128(event), None);
        let deleted = |rows| EventEndOutcome::Deleted { rows, kept: 0 };
        let suspects = Suspects::default();
        suspects.failed(key(1));
        assert_eq!(succeeded(key(2), deleted(0), &suspects), EndOutcome::Done { rows: 0, kept: 0 });
        assert!(!suspects.failed(key(1)), "nothing was deleted");
        assert_eq!(succeeded(key(2), deleted(1), &suspects), EndOutcome::Done { rows: 1, kept: 0 });
        assert!(suspects.failed(key(1)), "it is its own fault");
    }
}
