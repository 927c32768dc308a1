//! The one outcome of a delivery.

use super::apply::EndOutcome;
use super::intake::Request;
use crate::message::{Reason, Reject};
use crate::policy::{EventEnd, NextStep, after_failure, named_teams};

/// The delay, ten seconds, of a message that fails and may not be at fault: an index into [`crate::policy::DELAYS`].
pub(super) const UNCERTAIN_DELAY: usize = 1;

/// The one thing that happens to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    /// Acknowledged: its event's rows are deleted, and that is committed.
    Applied {
        /// What was ended.
        end: EventEnd,
        /// Rows deleted.
        rows: u64,
        /// Rows that a trigger or rule of the backend kept.
        kept: u64,
    },
    /// Acknowledged: there was nothing to do.
    Ignored,
    /// Published into a wait queue, then acknowledged.
    Retry {
        /// How long it waits, an index into [`crate::policy::DELAYS`].
        delay: usize,
        /// What failed.
        error: String,
        /// Whether it counts as an attempt.
        counted: bool,
    },
    /// Published to the dead-letter queue, then acknowledged.
    DeadLetter(Reject),
    /// Stays unacknowledged while its event is ended in steps.
    InSteps(EventEnd),
    /// Stays unacknowledged and is tried again.
    Hold,
}

/// The outcome of a delivery at its attempt number `attempt` (the first is 1). `ended` is what became of its event end, if it asks for
/// one.
pub(super) fn outcome(
    request: &Request,
    ended: Option<&EndOutcome>,
    attempt: u32,
    max_attempts: u32,
) -> DeliveryOutcome {
    match (request, ended) {
        (Request::Reject(reject), _) => DeliveryOutcome::DeadLetter(reject.clone()),
        (Request::Ignore { .. }, _) => DeliveryOutcome::Ignored,
        (Request::End(_), None | Some(EndOutcome::Held | EndOutcome::Paused)) => DeliveryOutcome::Hold,
        (Request::End(end), Some(EndOutcome::InSteps)) => DeliveryOutcome::InSteps(*end),
        (Request::End(end), Some(EndOutcome::Done { rows, kept })) => {
            DeliveryOutcome::Applied { end: *end, rows: *rows, kept: *kept }
        }
        (Request::End(_), Some(EndOutcome::TeamMismatch(owners))) => DeliveryOutcome::DeadLetter(Reject::new(
            Reason::TeamMismatch,
            format!("the event has no snapshots of the message's team_id, but of {}", named_teams(owners)),
        )),
        (Request::End(_), Some(EndOutcome::Uncertain(error))) => {
            DeliveryOutcome::Retry { delay: UNCERTAIN_DELAY, error: error.clone(), counted: false }
        }
        (Request::End(_), Some(EndOutcome::Failed(error))) => match after_failure(attempt, max_attempts) {
            NextStep::Wait(delay) => DeliveryOutcome::Retry { delay, error: error.clone(), counted: true },
            NextStep::GiveUp => DeliveryOutcome::DeadLetter(Reject::new(
                Reason::AttemptsExhausted,
                format!("failed {attempt} times, at last: {error}"),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;
    use uuid::Uuid;

    fn end() -> Request {
        Request::End(EventEnd { event_id: Uuid::nil(), team_id: None, occurred_at: datetime!(2026-01-05 12:00 UTC) })
    }

    #[test]
    fn rejects_are_dead_lettered_whatever_the_database_does() {
        let reject = Reject::new(Reason::InvalidJson, "no");
        assert_eq!(
            outcome(&Request::Reject(reject.clone()), Some(&EndOutcome::Held), 1, 5),
            DeliveryOutcome::DeadLetter(reject)
        );
    }

    #[test]
    fn end_without_an_outcome_is_held() {
        assert_eq!(outcome(&end(), None, 1, 5), DeliveryOutcome::Hold);
        for held in [EndOutcome::Held, EndOutcome::Paused] {
            assert_eq!(outcome(&end(), Some(&held), 99, 5), DeliveryOutcome::Hold);
        }
    }

    #[test]
    fn uncertain_failure_waits_however_often() {
        let uncertain = EndOutcome::Uncertain("53100".to_owned());
        assert!(matches!(outcome(&end(), Some(&uncertain), 99, 5), DeliveryOutcome::Retry { counted: false, .. }));
    }

    #[test]
    fn failures_wait_and_the_last_is_dead_lettered_with_its_text() {
        let failed = EndOutcome::Failed("could not delete: no".to_owned());
        assert!(matches!(outcome(&end(), Some(&failed), 4, 5), DeliveryOutcome::Retry { delay: 3, counted: true, .. }));
        let DeliveryOutcome::DeadLetter(reject) = outcome(&end(), Some(&failed), 5, 5) else {
            panic!("the fifth of five attempts is the last");
        };
        assert_eq!(reject.reason, Reason::AttemptsExhausted);
        assert!(reject.error.contains("could not delete: no"));
    }
}
