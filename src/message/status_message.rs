use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::event_status::EventStatus;
use super::reject::{Reason, Reject};
use super::trace_context::TraceContext;

/// How far a publisher's clock may be ahead of the worker's.
const AHEAD_AT_MOST: Duration = Duration::minutes(5);

/// One status change of an event, as published to `event.status`.
///
/// ```
/// use snapshot_lifecycle::{EventStatus, StatusMessage};
/// use time::macros::datetime;
/// use uuid::Uuid;
///
/// let message = StatusMessage::new(Uuid::new_v4(), EventStatus::Confirmed, datetime!(2026-01-05 12:00 UTC))
///     .with_team_id(Uuid::new_v4())
///     .with_step(7);
/// assert_eq!(message.routing_key(), "event.status.confirmed");
/// let again = StatusMessage::from_json(&message.to_json()?)?;
/// assert_eq!(again, message);
/// # Ok::<(), snapshot_lifecycle::InvalidStatusMessage>(())
/// ```
///
/// [`from_json`](Self::from_json) reads a body as the worker does. `Deserialize` is for programs that pass messages on among
/// themselves: it reads what `Serialize` has written, and an unusable `message_id` or `step` is an error there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StatusMessage {
    /// For tracing and for finding the message again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
    /// The event whose status changed.
    pub event_id: Uuid,
    /// Limits the delete to this team's snapshots, where present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_id: Option<Uuid>,
    /// The status reached.
    pub status: EventStatus,
    /// The workflow step; ignored by the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// When the status was reached. Snapshots made later are never deleted on behalf of this message.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// Where the message comes from, in a trace. It is no part of the body: the publisher sends it in headers, and the worker continues it.
    #[serde(skip)]
    pub trace_context: Option<TraceContext>,
}

impl StatusMessage {
    /// A message without team, step and id.
    #[must_use]
    pub const fn new(event_id: Uuid, status: EventStatus, occurred_at: OffsetDateTime) -> Self {
        Self { message_id: None, event_id, team_id: None, status, step: None, occurred_at, trace_context: None }
    }

    /// Limits the delete to one team.
    #[must_use]
    pub const fn with_team_id(mut self, team_id: Uuid) -> Self {
        self.team_id = Some(team_id);
        self
    }

    /// Gives the message an identity for tracing.
    #[must_use]
    pub const fn with_message_id(mut self, message_id: Uuid) -> Self {
        self.message_id = Some(message_id);
        self
    }

    /// Names the workflow step.
    #[must_use]
    pub const fn with_step(mut self, step: i64) -> Self {
        self.step = Some(step);
        self
    }

    /// Continues a trace.
    #[must_use]
    pub fn with_trace_context(mut self, context: TraceContext) -> Self {
        self.trace_context = Some(context);
        self
    }

    /// The body: one line of JSON.
    ///
    /// # Errors
    /// If `occurred_at` cannot be written in RFC 3339, as in the year -1, or not in UTC, as in the last hours of the year 9999 west
    /// of Greenwich.
    pub fn to_json(&self) -> Result<Vec<u8>, InvalidStatusMessage> {
        let invalid = || InvalidStatusMessage {
            reason: Reason::InvalidMessage,
            error: "occurred_at cannot be written in RFC 3339".to_owned(),
        };
        let in_utc = self.occurred_at.checked_to_offset(UtcOffset::UTC).ok_or_else(invalid)?;
        if !(0..=9999).contains(&in_utc.year()) {
            return Err(invalid());
        }
        serde_json::to_vec(self).map_err(|_| invalid())
    }

    /// Checks, as the worker does, that the status has been reached by the time `now`, allowing for the difference between two machines' clocks. A time in the
    /// future would delete snapshots that are made until then.
    ///
    /// # Errors
    /// [`Reason::InvalidMessage`] if `occurred_at` is more than five minutes ahead of `now`.
    pub fn check_time(&self, now: OffsetDateTime) -> Result<(), InvalidStatusMessage> {
        if self.occurred_at - now <= AHEAD_AT_MOST {
            return Ok(());
        }
        let text = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
        let (occurred_at, now) = (text(self.occurred_at), text(now));
        let error = format!(
            "occurred_at {occurred_at} is more than five minutes ahead of the clock here, {now}; is it local time with a Z?"
        );
        Err(InvalidStatusMessage { reason: Reason::InvalidMessage, error })
    }

    /// JSON Schema (draft 2020-12) of the body, as `snapshot-lifecycle publish --schema` prints it.
    #[must_use]
    pub const fn json_schema() -> &'static str {
        include_str!("status_message.schema.json")
    }

    /// `event.status.<status>`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        format!("event.status.{}", self.status)
    }
}

impl From<Reject> for InvalidStatusMessage {
    fn from(reject: Reject) -> Self {
        Self { reason: reject.reason, error: reject.error }
    }
}

impl From<InvalidStatusMessage> for Reject {
    fn from(invalid: InvalidStatusMessage) -> Self {
        Self::new(invalid.reason, invalid.error)
    }
}

/// A status message that the worker would dead-letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {error}")]
#[non_exhaustive]
pub struct InvalidStatusMessage {
    /// The reason it would be dead-lettered with.
    pub reason: Reason,
    /// What is wrong with it.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn status_may_be_five_minutes_ahead_and_no_more() {
        let now = datetime!(2026-01-05 12:00 UTC);
        let at = |occurred_at| StatusMessage::new(Uuid::nil(), EventStatus::Confirmed, occurred_at).check_time(now);
        for fine in [now - Duration::WEEK, now, now + Duration::minutes(5)] {
            assert_eq!(at(fine), Ok(()));
        }
        let reject = at(now + Duration::minutes(5) + Duration::NANOSECOND).unwrap_err();
        assert_eq!(reject.reason, Reason::InvalidMessage);
        for time in ["2026-01-05T12:05:00.000000001Z", "2026-01-05T12:00:00Z"] {
            assert!(reject.error.contains(time), "{}", reject.error);
        }
    }

    #[test]
    fn schema_is_json_and_names_every_status() {
        let schema: serde_json::Value = serde_json::from_str(StatusMessage::json_schema()).unwrap();
        let pattern = schema["properties"]["status"]["pattern"].as_str().unwrap();
        for status in EventStatus::ALL {
            for character in status.as_str().chars() {
                let class = format!("[{}{character}]", character.to_ascii_uppercase());
                assert!(pattern.contains(&class), "{status} is not in {pattern}");
            }
        }
    }

    #[test]
    fn message_is_read_as_it_was_written_and_its_time_must_fit_rfc_3339() {
        let at = datetime!(2026-01-05 12:00:00.25 +01:00);
        let message = StatusMessage::new(Uuid::from_u128(1), EventStatus::Cancelled, at)
            .with_team_id(Uuid::from_u128(2))
            .with_message_id(Uuid::from_u128(3));
        let body = message.to_json().unwrap();
        assert_eq!(serde_json::from_slice::<StatusMessage>(&body).unwrap(), message);
        assert_eq!(StatusMessage::from_json(&body), Ok(message.clone()));
        assert_eq!(message.routing_key(), "event.status.cancelled");
        let without = StatusMessage::new(Uuid::nil(), EventStatus::Lead, datetime!(-0001-01-05 12:00 UTC)).to_json();
        assert_eq!(without.unwrap_err().reason, Reason::InvalidMessage);
    }
}
