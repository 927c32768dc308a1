//! From what became of a delivery to its one fate.

use super::apply::Applied;
use super::intake::Request;
use crate::message::{Reason, Reject};
use crate::policy::{NextStep, after_failure, named_teams};

/// Ten seconds, for a message that fails without being the one at fault for certain.
pub(super) const DELAY_IN_DOUBT: usize = 1;

/// The one thing that happens to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Acknowledged: applied, its rows are deleted and committed.
    Applied,
    /// Acknowledged: there was nothing to do.
    Ignored,
    /// Into a wait queue, then acknowledged.
    Retry {
        /// Which pause, an index into [`crate::policy::DELAYS`].
        delay: usize,
        /// What failed.
        error: String,
        /// Whether it counts as an attempt.
        counted: bool,
    },
    /// Stays unacknowledged while its event is done in steps.
    InSteps,
    /// Into the dead-letter queue, then acknowledged.
    DeadLetter(Reject),
    /// Stays in hand and is tried again.
    Hold,
}

/// The fate of a delivery on its attempt number `attempt` (the first is 1). `applied` is what became of its event end;
/// requests without one ignore it.
pub(super) fn fate(request: &Request, applied: Option<&Applied>, attempt: u32, max_attempts: u32) -> Fate {
    match (request, applied) {
        (Request::Reject(reject), _) => Fate::DeadLetter(reject.clone()),
        (Request::Ignore { .. }, _) => Fate::Ignored,
        (Request::End(_), None | Some(Applied::Held)) => Fate::Hold,
        (Request::End(_), Some(Applied::Done { .. })) => Fate::Applied,
        (Request::End(_), Some(Applied::InSteps)) => Fate::InSteps,
        (Request::End(_), Some(Applied::TeamMismatch(owners))) => Fate::DeadLetter(Reject::new(
            Reason::TeamMismatch,
            format!("the event has no snapshots of the message's team_id, but of {}", named_teams(owners)),
        )),
        (Request::End(_), Some(Applied::InDoubt(error))) => {
            Fate::Retry { delay: DELAY_IN_DOUBT, error: error.clone(), counted: false }
        }
        (Request::End(_), Some(Applied::Failed(error))) => match after_failure(attempt, max_attempts) {
            NextStep::Wait(delay) => Fate::Retry { delay, error: error.clone(), counted: true },
            NextStep::GiveUp => Fate::DeadLetter(Reject::new(
                Reason::AttemptsExhausted,
                format!("failed {attempt} times, at last: {error}"),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::EventEnd;
    use time::macros::datetime;
    use uuid::Uuid;

    fn end() -> Request {
        Request::End(EventEnd { event_id: Uuid::nil(), team_id: None, occurred_at: datetime!(2026-01-05 12:00 UTC) })
    }

    #[test]
    fn rejects_are_dead_lettered_whatever_the_database_does() {
        let reject = Reject::new(Reason::InvalidJson, "no");
        assert_eq!(fate(&Request::Reject(reject.clone()), Some(&Applied::Held), 1, 5), Fate::DeadLetter(reject));
    }

    #[test]
    fn what_is_not_applied_is_held() {
        assert_eq!(fate(&end(), None, 1, 5), Fate::Hold);
        assert_eq!(fate(&end(), Some(&Applied::Held), 99, 5), Fate::Hold);
    }

    #[test]
    fn doubtful_failure_waits_however_often() {
        let doubtful = Applied::InDoubt("53100".to_owned());
        assert!(matches!(fate(&end(), Some(&doubtful), 99, 5), Fate::Retry { counted: false, .. }));
    }

    #[test]
    fn failures_wait_and_the_last_is_dead_lettered_with_its_text() {
        let failed = Applied::Failed("could not delete: no".to_owned());
        assert!(matches!(fate(&end(), Some(&failed), 4, 5), Fate::Retry { delay: 3, counted: true, .. }));
        let Fate::DeadLetter(reject) = fate(&end(), Some(&failed), 5, 5) else {
            panic!("the fifth of five attempts is the last");
        };
        assert_eq!(reject.reason, Reason::AttemptsExhausted);
        assert!(reject.error.contains("could not delete: no"));
    }
}
