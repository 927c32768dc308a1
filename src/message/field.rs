use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::reject::{Reason, Reject};

/// A field's text. Borrowed where the JSON has no escapes.
pub(super) fn text<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Reject> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Some(raw) = raw else { return Ok(None) };
    match serde_json::from_str(raw.get()) {
        Ok(Text(text)) => Ok(Some(text)),
        // Such as half of a surrogate pair.
        Err(error) if raw.get().starts_with('"') => Err(Reject::new(Reason::InvalidJson, format!("{field}: {error}"))),
        Err(_) => Err(Reject::invalid(format!("{field} is {}, not a string", kind(raw)))),
    }
}

fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    }
}

pub(super) fn uuid(field: &str, raw: Option<&RawValue>) -> Result<Option<Uuid>, Reject> {
    text(field, raw)?
        .map(|text| Uuid::try_parse(&text).map_err(|_| Reject::invalid(format!("{field} is not a UUID"))))
        .transpose()
}
