use std::fmt;

/// Why a message is in the dead-letter queue: the header `lifecycle-reason` and the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Larger than `LIFECYCLE_MAX_MESSAGE_BYTES`; it was not parsed.
    TooLarge,
    /// Not JSON.
    InvalidJson,
    /// JSON, but a field is missing or unusable.
    InvalidMessage,
    /// A well-formed message with a status nobody knows.
    UnknownStatus,
    /// The event's snapshots belong to another team than the message says.
    TeamMismatch,
    /// It failed by itself `LIFECYCLE_MAX_ATTEMPTS` times.
    AttemptsExhausted,
    /// It was replayed more often than the replay's guard allows.
    ReplayedTooOften,
    /// The broker gave up on it: delivered too often without an answer, which is what a message that crashes the worker
    /// looks like. Only ever read from a letter, never given by us.
    DeliveryLimit,
}

impl Reason {
    /// Every reason, in the order of the interface.
    pub const ALL: [Self; 8] = [
        Self::TooLarge,
        Self::InvalidJson,
        Self::InvalidMessage,
        Self::UnknownStatus,
        Self::TeamMismatch,
        Self::AttemptsExhausted,
        Self::ReplayedTooOften,
        Self::DeliveryLimit,
    ];

    /// The name in headers, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::InvalidJson => "invalid_json",
            Self::InvalidMessage => "invalid_message",
            Self::UnknownStatus => "unknown_status",
            Self::TeamMismatch => "team_mismatch",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::ReplayedTooOften => "replayed_too_often",
            Self::DeliveryLimit => "delivery_limit",
        }
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
