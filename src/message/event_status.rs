use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::closed_set::closed_set;

closed_set! {
    /// The status an event has reached. Capitalised inside the backend, lowercase in its database and here;
    /// reading ignores the letter case.
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    #[non_exhaustive]
    pub enum EventStatus {
        /// A first enquiry.
        Lead = "lead",
        /// A date is held.
        Option = "option",
        /// Step 7: booked. Ends the event's info pages.
        Confirmed = "confirmed",
        /// Called off. Ends the event's info pages.
        Cancelled = "cancelled",
        /// The venue's rooms are blocked.
        Blocked = "blocked",
    }
}

impl EventStatus {
    /// Whether the status is terminal for the event's snapshots: `confirmed` and `cancelled` are.
    #[must_use]
    pub const fn ends_event(self) -> bool {
        match self {
            Self::Confirmed | Self::Cancelled => true,
            Self::Lead | Self::Option | Self::Blocked => false,
        }
    }
}

impl fmt::Display for EventStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownStatus)
    }
}

impl<'de> Deserialize<'de> for EventStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The text names none of the five statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("status is not one of lead, option, confirmed, cancelled, blocked")]
#[non_exhaustive]
pub struct UnknownStatus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_letter_case_is_read() {
        for text in ["confirmed", "Confirmed", "CONFIRMED", "cOnFiRmEd"] {
            assert_eq!(text.parse(), Ok(EventStatus::Confirmed));
        }
    }

    #[test]
    fn neither_spaces_nor_other_words_are_read() {
        for text in ["", " confirmed", "confirmed ", "done", "canceled"] {
            assert_eq!(text.parse::<EventStatus>(), Err(UnknownStatus));
        }
    }

    #[test]
    fn only_confirmed_and_cancelled_end_an_event() {
        let ending: Vec<_> = EventStatus::ALL.into_iter().filter(|s| s.ends_event()).collect();
        assert_eq!(ending, [EventStatus::Confirmed, EventStatus::Cancelled]);
    }

    #[test]
    fn statuses_are_shown_by_the_name_they_are_read_by() {
        for status in EventStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(serde_json::from_str::<EventStatus>(&json.to_uppercase()).unwrap(), status);
        }
    }
}
