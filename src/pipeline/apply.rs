//! From event ends to deleted rows: all in one transaction where that works, narrowed down to the one that does not
//! where it does not.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::policy::EventEnd;
use crate::storage::{Database, Ended, Limits, StorageError, Verdict};

/// What became of one event end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Applied {
    /// Committed; so many rows went.
    Done(u64),
    /// Committed; nothing went, because the snapshots belong to another team.
    TeamMismatch,
    /// This one failed by itself while others would pass.
    Failed(String),
    /// Nothing passes now. Not counted as an attempt of the message.
    Held,
}

/// For the whole batch: long enough for a busy database, short enough to notice an event that is too large for it.
const WHOLE: Limits = Limits { lock: Duration::from_secs(1), statement: Duration::from_secs(2) };
/// While narrowing down: the neighbours of the one that hangs are waiting.
const NARROWED: Limits = Limits { lock: Duration::from_millis(250), statement: Duration::from_millis(500) };
/// Narrowing down a batch full of locked rows takes a time-out for each; after this the rest is held, so that what is done can be
/// acknowledged and a stop be heard.
const NARROW_AT_MOST: Duration = Duration::from_secs(20);
/// A deadlock's victim may simply go again; more often than this it is no chance.
const CONFLICT_TRIES: u32 = 3;

/// Ends the events (distinct, in the order of [`crate::policy::merge`]), one answer each. Never fails: an error is an answer.
pub(super) async fn apply(database: &Database, ends: &[EventEnd]) -> Vec<Applied> {
    let mut applied = vec![Applied::Held; ends.len()];
    let whole = 0..ends.len();
    let mut todo = vec![whole];
    let began = Instant::now();
    while let Some(part) = todo.pop() {
        if began.elapsed() > NARROW_AT_MOST {
            break;
        }
        let limits = if part.len() == ends.len() { WHOLE } else { NARROWED };
        let error = match end_part(database, &ends[part.clone()], limits).await {
            Ok(ended) => {
                for (position, ended) in part.zip(ended) {
                    applied[position] = match ended {
                        Ended::Deleted(rows) => Applied::Done(rows),
                        Ended::TeamMismatch => Applied::TeamMismatch,
                    };
                }
                continue;
            }
            Err(error) => error,
        };
        // Nobody could pass: what is not done yet is held, and nothing is learnt about any message.
        if error.verdict() == Verdict::Outage
            || database.check_access().await.is_err()
            || database.try_delete_nothing(NARROWED).await.is_err()
        {
            tracing::warn!(
                error = error.one_line(),
                sqlstate = error.code(),
                "database does not take deletes; holding messages"
            );
            return applied;
        }
        match halves(&part) {
            Some((first, second)) => {
                tracing::debug!(events = part.len(), error = error.one_line(), "batch failed; narrowing it down");
                todo.push(second);
                todo.push(first);
            }
            None => applied[part.start] = alone(&error),
        }
    }
    applied
}

/// A single one that failed while a delete would pass.
fn alone(error: &StorageError) -> Applied {
    match error.verdict() {
        Verdict::Timeout | Verdict::Refused => Applied::Failed(error.one_line()),
        // A conflict is about two transactions, not about the message.
        Verdict::Conflict | Verdict::Outage => Applied::Held,
    }
}

async fn end_part(database: &Database, ends: &[EventEnd], limits: Limits) -> Result<Vec<Ended>, StorageError> {
    let mut tries = 1;
    loop {
        match database.end_events(ends, limits).await {
            Err(error) if error.verdict() == Verdict::Conflict && tries < CONFLICT_TRIES => tries += 1,
            // Too much for one statement, though nothing blocks it: in steps.
            Err(error) if error.is_statement_timeout() && ends.len() == 1 => {
                return Ok(vec![database.end_event_in_steps(&ends[0]).await?]);
            }
            other => return other,
        }
    }
}

fn halves(part: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let middle = part.start + part.len() / 2;
    (part.len() > 1).then_some((part.start..middle, middle..part.end))
}
