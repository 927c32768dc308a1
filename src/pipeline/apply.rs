//! From event ends to deleted rows: all in one transaction where that works, narrowed down to the one that does not
//! where it does not.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::key::{Key, key};
use super::suspects::Suspects;
use crate::policy::EventEnd;
use crate::storage::{Database, EventEndOutcome, Limits, StepsOutcome, StorageError, Verdict};

/// What became of one event end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Applied {
    /// Committed.
    Done {
        /// Rows that are gone.
        rows: u64,
        /// Rows that a trigger or rule of the backend kept.
        kept: u64,
    },
    /// Committed; nothing was deleted, because the snapshots belong to these other teams.
    TeamMismatch(Vec<Uuid>),
    /// This one alone fails while others pass.
    Failed(String),
    /// It fails, and nothing shows yet whether it alone does. Not counted as an attempt of the message.
    InDoubt(String),
    /// Too much for one statement, or one of its rows cannot go: to be done in steps, after the others.
    InSteps,
    /// Nothing passes now. Not counted as an attempt of the message.
    Held,
}

/// For the whole batch: long enough for a busy database, short enough to notice an event that is too large for it. A lock is waited
/// for shorter than PostgreSQL's `deadlock_timeout`, 1 s: of two that wait for each other it ends whose wait is as old as that, and
/// here that should be our transaction and not the backend's.
const WHOLE: Limits = Limits { lock: Duration::from_millis(500), statement: Duration::from_secs(2) };
/// While narrowing down: the neighbours of the one that hangs are waiting.
const NARROWED: Limits = Limits { lock: Duration::from_millis(250), statement: Duration::from_millis(500) };
/// Narrowing down a batch full of locked rows takes a timeout for each; after this the rest is held, so that what is done can be
/// acknowledged and a stop be heard.
const NARROW_AT_MOST: Duration = Duration::from_secs(20);
/// Events that fail alone, in a way that may be the database's, between two looks whether anything passes beside them. Where nothing does,
/// to try all would cost the database in an outage a transaction for each message, again and again.
const ALONE_IN_DOUBT: usize = 10;
/// A deadlock's victim may simply go again; more often than this it is no chance.
const CONFLICT_TRIES: u32 = 3;

/// Ends the events (distinct, in the order of [`crate::policy::merge`]), one answer each. Never fails: an error is an answer.
pub(super) async fn apply(database: &Database, ends: &[EventEnd], suspects: &mut Suspects) -> Vec<Applied> {
    if ends.is_empty() {
        return Vec::new();
    }
    let mut applied = vec![Applied::Held; ends.len()];
    let whole = 0..ends.len();
    let mut todo = vec![whole];
    let mut alone_in_doubt = 0;
    let began = Instant::now();
    while let Some(part) = todo.pop() {
        if began.elapsed() > NARROW_AT_MOST {
            break;
        }
        let limits = if part.len() == ends.len() { WHOLE } else { NARROWED };
        let error = match end_part(database, &ends[part.clone()], limits).await {
            Ok(ended) => {
                for (position, ended) in part.zip(ended) {
                    applied[position] = passed(key(&ends[position]), ended, suspects);
                }
                continue;
            }
            Err(error) => error,
        };
        // Nobody could pass: what is not done yet is held, and nothing is learnt about any message.
        if is_outage(database, &error).await {
            return applied;
        }
        if part.len() > 1 {
            tracing::debug!(events = part.len(), error = error.one_line(), "batch failed; narrowing it down");
            todo.extend(parts(&part, error.verdict()).into_iter().rev());
        } else {
            applied[part.start] = Applied::InSteps;
            if is_doubtful(&error) {
                suspects.note(key(&ends[part.start]));
                alone_in_doubt += 1;
                if alone_in_doubt % ALONE_IN_DOUBT == 0 && suspects.look_like_an_outage() {
                    tracing::warn!(
                        error = error.one_line(),
                        sqlstate = error.code(),
                        "one event after the other fails and none passes; holding the others"
                    );
                    break;
                }
            }
        }
    }
    applied
}

fn passed(key: Key, ended: EventEndOutcome, suspects: &mut Suspects) -> Applied {
    match ended {
        EventEndOutcome::Deleted { rows, kept } => {
            if rows > 0 {
                suspects.passed(key);
            }
            Applied::Done { rows, kept }
        }
        EventEndOutcome::TeamMismatch(owners) => Applied::TeamMismatch(owners),
    }
}

/// What became of an event that was done in steps.
pub(super) fn after_steps(key: Key, stepped: StepsOutcome, suspects: &mut Suspects) -> Applied {
    let Some(error) = stepped.error else { return passed(key, stepped.ended, suspects) };
    let text = format!("{}: {}", stepped.failed, error.one_line());
    let some_passed = matches!(stepped.ended, EventEndOutcome::Deleted { rows: 1.., .. });
    if !is_doubtful(&error) || some_passed { Applied::Failed(text) } else { doubtful(key, text, suspects) }
}

/// What became of an event that fails in a way that may be the database's.
pub(super) fn doubtful(key: Key, error: String, suspects: &mut Suspects) -> Applied {
    if suspects.failed(key) { Applied::Failed(error) } else { Applied::InDoubt(error) }
}

/// Whether the error may be the database's rather than the event's own. A trigger may raise any of them.
fn is_doubtful(error: &StorageError) -> bool {
    match error.verdict() {
        Verdict::Outage | Verdict::Conflict => true,
        Verdict::Timeout | Verdict::Refused => false,
    }
}

/// Whether every delete fails now. Logged.
pub(super) async fn is_outage(database: &Database, error: &StorageError) -> bool {
    if error.is_no_access() {
        tracing::error!(error = error.one_line(), "database role may not delete; holding messages");
        return true;
    }
    // Without a code the server was not heard of: asking again at once would only take longer.
    if error.code().is_some() && database.trial_delete(NARROWED).await.is_ok() {
        return false;
    }
    tracing::warn!(
        error = error.one_line(),
        sqlstate = error.code(),
        "database does not take deletes; holding messages"
    );
    true
}

/// Whether a delete passes now.
pub(super) async fn takes_deletes(database: &Database) -> bool {
    database.trial_delete(NARROWED).await.is_ok()
}

async fn end_part(
    database: &Database,
    ends: &[EventEnd],
    limits: Limits,
) -> Result<Vec<EventEndOutcome>, StorageError> {
    let mut tries = 1;
    loop {
        match database.event_end_delete(ends, limits).await {
            Err(error) if error.verdict() == Verdict::Conflict && tries < CONFLICT_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// The parts of one that failed. A time-out costs half a second, so there are few levels; a refusal costs next to nothing, so there are few
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

    /// The failures until the bad one of so many is alone.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_delete_of_rows_shows_that_others_pass() {
        let key = |event| (Uuid::from_u128(event), None);
        let deleted = |rows| EventEndOutcome::Deleted { rows, kept: 0 };
        let mut suspects = Suspects::default();
        suspects.failed(key(1));
        assert_eq!(passed(key(2), deleted(0), &mut suspects), Applied::Done { rows: 0, kept: 0 });
        assert!(!suspects.failed(key(1)), "nothing was deleted");
        assert_eq!(passed(key(2), deleted(1), &mut suspects), Applied::Done { rows: 1, kept: 0 });
        assert!(suspects.failed(key(1)), "it is its own fault");
    }

    #[test]
    fn part_is_halved_down_to_one() {
        assert_eq!(halves(&(2..5)), Some((2..3, 3..5)));
        assert_eq!(halves(&(4..5)), None);
    }
}
