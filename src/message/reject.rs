use std::fmt;

use crate::closed_set::closed_set;

closed_set! {
    /// Why a message is in the dead-letter queue: the header `lifecycle-reason` and the metric's label.
    #[non_exhaustive]
    pub enum Reason {
        /// Larger than the limit; it was not parsed.
        TooLarge = "too_large",
        /// Not JSON.
        InvalidJson = "invalid_json",
        /// JSON, but a field is missing or unusable.
        InvalidMessage = "invalid_message",
        /// A well-formed message with an unknown status.
        UnknownStatus = "unknown_status",
        /// The event's snapshots belong to another team than the message says.
        TeamMismatch = "team_mismatch",
        /// This message alone failed at every attempt.
        AttemptsExhausted = "attempts_exhausted",
        /// It was replayed more often than the replay's guard allows.
        ReplayedTooOften = "replayed_too_often",
        /// The broker gave up on it: delivered too often without an answer, as happens to a message that crashes the worker.
        /// Only read from a dead letter, never set by us.
        DeliveryLimit = "delivery_limit",
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message that can never succeed, with what to tell the person who finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The closed reason.
    pub reason: Reason,
    /// One line of text for a person; goes into the header `lifecycle-error`, never into a log, because it may
    /// quote a scalar of the body.
    pub error: String,
}

impl Reject {
    /// A reject whose error is one line: line breaks become spaces.
    #[must_use]
    pub fn new(reason: Reason, error: impl fmt::Display) -> Self {
        Self { reason, error: error.to_string().replace(['\r', '\n'], " ") }
    }

    pub(super) fn invalid(error: impl fmt::Display) -> Self {
        Self::new(Reason::InvalidMessage, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_headers_and_differ() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(names.contains("invalid_json") && Reason::InvalidJson.as_str() == "invalid_json", "{names:?}");
    }
}
