use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::envelope::Envelope;
use super::event_status::{EventStatus, UnknownStatus};
use super::field::{text, uuid};
use super::instant::instant;
use super::reject::{Reason, Reject};
use super::status_message::{InvalidStatusMessage, StatusMessage};

impl StatusMessage {
    /// Reads and validates a body by the same rules as the worker.
    ///
    /// # Errors
    /// Where the worker would dead-letter the body.
    pub fn from_json(body: &[u8]) -> Result<Self, InvalidStatusMessage> {
        Ok(decode(body, &Envelope::default())?)
    }
}

/// Reads a status message.
///
/// Unknown fields are ignored, whatever they hold, and so is a `message_id` that is not a UUID. Allocates in proportion to the body
/// and never panics.
///
/// # Errors
/// [`Reason::InvalidJson`] if the bytes are not JSON, [`Reason::UnknownStatus`] if only the status is wrong, and
/// [`Reason::InvalidMessage`] otherwise.
pub fn decode(body: &[u8], envelope: &Envelope) -> Result<StatusMessage, Reject> {
    let raw = parse(body).map_err(|reject| with_encoding(reject, envelope))?;

    let event_id = uuid("event_id", raw.event_id)?
        .ok_or_else(|| Reject::invalid("event_id is missing; it names the event whose status changed"))?;
    let team_id = uuid("team_id", raw.team_id)?;
    let message_id = message_id(raw.message_id).or_else(|| Uuid::try_parse(envelope.message_id.as_deref()?).ok());
    let occurred_at = occurred_at(text("occurred_at", raw.occurred_at)?.as_deref(), envelope.timestamp)?;
    let status = text("status", raw.status)?
        .ok_or_else(|| Reject::invalid("status is missing"))?
        .parse::<EventStatus>()
        .map_err(|error: UnknownStatus| Reject::new(Reason::UnknownStatus, error))?;

    Ok(StatusMessage {
        message_id,
        event_id,
        team_id,
        status,
        step: raw.step.and_then(|step| step.get().parse().ok()),
        occurred_at,
        trace_context: None,
    })
}

/// The body's fields before they are parsed: kept raw, which costs nothing, so that an error names its field.
#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    team_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    step: Option<&'a RawValue>,
    #[serde(borrow, default)]
    occurred_at: Option<&'a RawValue>,
}

fn parse(body: &[u8]) -> Result<RawMessage<'_>, Reject> {
    let reject = |error: serde_json::Error| match error.classify() {
        // A wrong field is reported before the rest is read, and the rest may not be JSON.
        Category::Data => match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(IgnoredAny) => Reject::new(Reason::InvalidMessage, error),
            Err(syntax) => Reject::new(Reason::InvalidJson, syntax),
        },
        Category::Io | Category::Syntax | Category::Eof => Reject::new(Reason::InvalidJson, error),
    };
    // serde reads an array into a struct by position; a message is an object and nothing else.
    if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice::<IgnoredAny>(body).map_err(reject)?;
        return Err(Reject::invalid("the message is an array, not an object"));
    }
    serde_json::from_slice(body).map_err(reject)
}

/// What is not JSON may be something else that the properties name: compressed, or another serialisation.
fn with_encoding(reject: Reject, envelope: &Envelope) -> Reject {
    let said: Vec<_> = [("content_type", &envelope.content_type), ("content_encoding", &envelope.content_encoding)]
        .into_iter()
        .filter_map(|(property, value)| Some((property, value.as_deref()?)))
        .filter(|(_, value)| {
            !value.is_empty() && !["application/json", "utf-8"].contains(&value.to_lowercase().as_str())
        })
        .map(|(property, value)| format!("{property} says {value}"))
        .collect();
    if reject.reason != Reason::InvalidJson || said.is_empty() {
        return reject;
    }
    let error = format!("{}; {}, and plain application/json is expected", reject.error, said.join(" and "));
    Reject::new(reject.reason, error)
}

/// For tracing only, so it is no reason to reject a message.
fn message_id(raw: Option<&RawValue>) -> Option<Uuid> {
    Uuid::try_parse(&text("message_id", raw).ok()??).ok()
}

fn occurred_at(text: Option<&str>, timestamp: Option<u64>) -> Result<OffsetDateTime, Reject> {
    if let Some(text) = text {
        return instant(text).ok_or_else(|| {
            Reject::invalid("occurred_at is not RFC 3339 with an offset, such as 2026-01-05T12:00:00Z")
        });
    }
    let seconds =
        timestamp.ok_or_else(|| Reject::invalid("occurred_at is missing, and so is the AMQP property timestamp"))?;
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| Reject::invalid("the AMQP property timestamp is not a time in seconds since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const EVENT: &str = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d";

    fn reason(body: &str) -> Reason {
        decode(body.as_bytes(), &Envelope::default()).unwrap_err().reason
    }

    fn body(rest: &str) -> String {
        format!(r#"{{"event_id":"{EVENT}","status":"confirmed","occurred_at":"2026-01-05T12:00:00Z"{rest}}}"#)
    }

    #[test]
    fn smallest_message_is_read() {
        let message = decode(body("").as_bytes(), &Envelope::default()).unwrap();
        assert_eq!(message.event_id.to_string(), EVENT);
        assert_eq!(message.status, EventStatus::Confirmed);
        assert_eq!(message.occurred_at, datetime!(2026-01-05 12:00 UTC));
        assert_eq!((message.team_id, message.message_id, message.step), (None, None, None));
    }

    #[test]
    fn unknown_fields_and_any_step_are_ignored() {
        for rest in [
            r#","step":7"#,
            r#","step":"seven""#,
            r#","step":{"a":[1,2]}"#,
            r#","step":1e400"#,
            r#","venue":{"deep":[[[]]]},"n":null"#,
        ] {
            assert!(decode(body(rest).as_bytes(), &Envelope::default()).is_ok(), "{rest}");
        }
    }

    #[test]
    fn null_counts_as_missing() {
        assert!(decode(body(r#","team_id":null,"message_id":null"#).as_bytes(), &Envelope::default()).is_ok());
        assert_eq!(
            reason(r#"{"event_id":null,"status":"confirmed","occurred_at":"2026-01-05T12:00:00Z"}"#),
            Reason::InvalidMessage
        );
    }

    #[test]
    fn time_in_the_body_wins_over_the_property() {
        let envelope = Envelope { timestamp: Some(0), ..Envelope::default() };
        let message = decode(body("").as_bytes(), &envelope).unwrap();
        assert_eq!(message.occurred_at, datetime!(2026-01-05 12:00 UTC));
    }

    #[test]
    fn time_may_come_from_the_property() {
        let bare = format!(r#"{{"event_id":"{EVENT}","status":"confirmed"}}"#);
        let envelope = Envelope { timestamp: Some(1_767_614_400), ..Envelope::default() };
        let message = decode(bare.as_bytes(), &envelope).unwrap();
        assert_eq!(message.occurred_at, datetime!(2026-01-05 12:00 UTC));
        // Milliseconds, the usual mistake, are a year beyond 9999 and must not be taken for one.
        let envelope = Envelope { timestamp: Some(1_767_614_400_000), ..Envelope::default() };
        assert_eq!(decode(bare.as_bytes(), &envelope).unwrap_err().reason, Reason::InvalidMessage);
    }

    #[test]
    fn message_id_may_come_from_the_property_and_is_ignored_where_it_is_not_a_uuid() {
        let envelope = Envelope { message_id: Some(EVENT.into()), ..Envelope::default() };
        assert_eq!(decode(body("").as_bytes(), &envelope).unwrap().message_id.unwrap().to_string(), EVENT);
        let envelope = Envelope { message_id: Some("celery-17".into()), ..Envelope::default() };
        assert_eq!(decode(body("").as_bytes(), &envelope).unwrap().message_id, None);
    }

    #[test]
    fn each_fault_has_its_reason() {
        assert_eq!(reason(""), Reason::InvalidJson);
        assert_eq!(reason("confirmed"), Reason::InvalidJson);
        assert_eq!(reason(&body("")[..40]), Reason::InvalidJson);
        assert_eq!(reason(&format!("{} x", body(""))), Reason::InvalidJson);
        assert_eq!(reason(&"[".repeat(100_000)), Reason::InvalidJson);
        assert_eq!(reason("[]"), Reason::InvalidMessage);
        assert_eq!(
            reason(&format!(r#"[null,"{EVENT}",null,"confirmed",7,"2026-01-05T12:00:00Z"]"#)),
            Reason::InvalidMessage
        );
        assert_eq!(reason("7"), Reason::InvalidMessage);
        assert_eq!(reason("{}"), Reason::InvalidMessage);
        assert_eq!(reason(&body("").replace("2026-01-05T12:00:00Z", "2026-01-05T12:00:00")), Reason::InvalidMessage);
        assert_eq!(reason(&body("").replace("2026-01-05T12:00:00Z", "2026-02-30T12:00:00Z")), Reason::InvalidMessage);
        for beyond in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
            assert_eq!(reason(&body("").replace("2026-01-05T12:00:00Z", beyond)), Reason::InvalidMessage);
        }
        assert_eq!(reason(&body("").replace(EVENT, "9b1d")), Reason::InvalidMessage);
        assert_eq!(reason(&body(r#","team_id":7"#)), Reason::InvalidMessage);
        assert_eq!(reason(&body(r#","status":"lead""#)), Reason::InvalidMessage); // a second status: which one?
        assert_eq!(reason(&body("").replace("confirmed", "done")), Reason::UnknownStatus);
    }

    #[test]
    fn message_id_of_the_body_that_is_not_a_uuid_is_ignored() {
        for odd in [r#""12""#, "12", "{}", "[]", "true", r#""""#] {
            let message = decode(body(&format!(r#","message_id":{odd}"#)).as_bytes(), &Envelope::default()).unwrap();
            assert_eq!(message.message_id, None, "{odd}");
        }
    }

    #[test]
    fn errors_name_the_field_or_what_the_properties_say() {
        let error = |body: &str, envelope| decode(body.as_bytes(), &envelope).unwrap_err().error;
        for (value, said) in [
            ("{}", "event_id is an object, not a string"),
            ("[]", "event_id is an array, not a string"),
            ("7", "event_id is a number, not a string"),
            ("true", "event_id is true or false, not a string"),
        ] {
            assert_eq!(error(&body("").replace(&format!("\"{EVENT}\""), value), Envelope::default()), said);
        }
        let pickled = Envelope {
            content_type: Some("application/x-python-serialize".into()),
            content_encoding: Some("binary".into()),
            ..Envelope::default()
        };
        let said = error("\u{80}", pickled);
        assert!(
            said.contains("content_type says application/x-python-serialize and content_encoding says binary"),
            "{said}"
        );
        let plain = Envelope { content_type: Some("application/json".into()), ..Envelope::default() };
        assert!(!error("x", plain).contains("says"));
    }

    #[test]
    fn error_is_one_line() {
        let reject = decode(b"{\"event_id\":\n\n7}", &Envelope::default()).unwrap_err();
        assert!(!reject.error.contains('\n'), "{}", reject.error);
    }

    #[test]
    fn properties_are_in_the_error_only_where_the_body_is_not_json() {
        let plain = Envelope { content_type: Some("text/plain".into()), ..Envelope::default() };
        let error = |body: &[u8], envelope: &Envelope| decode(body, envelope).unwrap_err().error;
        assert!(error(b"no json", &plain).contains("content_type says text/plain"));
        assert!(!error(b"no json", &Envelope::default()).contains("is expected"));
        assert!(!error(b"{}", &plain).contains("text/plain"));
    }

    #[test]
    fn half_of_a_surrogate_pair_is_not_json() {
        assert_eq!(reason(r#"{"event_id":"\ud800","status":"lead"}"#), Reason::InvalidJson);
    }
}
