use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::ImportError;
use crate::message::instant;
use crate::storage::NewRow;

/// An entry of the backend's local store.
pub(super) struct Entry {
    /// As the store names it, such as `snap_20260105_120000_1a2b3c4d`.
    pub(super) old_id: String,
    /// The same for the same team and old id, at each import.
    pub(super) id: Uuid,
    /// The row, or why there is none.
    pub(super) row: Result<NewRow, String>,
}

#[derive(Deserialize)]
struct Store {
    /// Each is read alone, so that one that cannot be read leaves the others.
    snapshots: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Fields {
    snapshot_id: Option<Value>,
    r#type: Option<Value>,
    event_id: Option<Value>,
    created_at: Option<Value>,
    expires_at: Option<Value>,
    /// As they were written, because a number's digits are to be kept.
    params: Option<Box<RawValue>>,
    data: Option<Box<RawValue>>,
}

/// Reads `page_snapshots/snapshots.json`.
pub(super) fn read(file: &Path, team_id: Uuid) -> Result<Vec<Entry>, ImportError> {
    let text = std::fs::read(file).map_err(|error| ImportError::Unreadable(file.to_owned(), error))?;
    // A list would be taken for the fields in their order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(ImportError::not_a_store(file, None));
    }
    let store: Store =
        serde_json::from_slice(&json_of_python(&text)).map_err(|error| ImportError::not_a_store(file, Some(error)))?;
    Ok(store.snapshots.into_iter().map(|(old_id, entry)| Entry::read(team_id, old_id, &entry)).collect())
}

/// Python writes NaN and Infinity, which are not JSON. Each becomes a string, for which the entry around it is left out.
fn json_of_python(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    while at < text.len() {
        match text[at] {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1, // whatever is escaped does not end the string
            b'N' | b'I' | b'-' if !in_string => {
                let word =
                    [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| text[at..].starts_with(word));
                if let Some(word) = word {
                    out.extend_from_slice(&text[copied..at]);
                    out.extend_from_slice(NOT_A_NUMBER.as_bytes());
                    copied = at + word.len();
                    at = copied;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

/// Half a character, which no text has.
const NOT_A_NUMBER: &str = r#""\ud800 NaN or Infinity""#;

impl Entry {
    fn read(team_id: Uuid, old_id: String, entry: &RawValue) -> Self {
        let id = Uuid::new_v5(&team_id, old_id.as_bytes());
        let row = row(id, &old_id, entry);
        Self { old_id, id, row }
    }
}

fn row(id: Uuid, old_id: &str, entry: &RawValue) -> Result<NewRow, String> {
    if entry.get().contains(NOT_A_NUMBER) {
        return Err("it holds NaN or Infinity, which JSON does not have".to_owned());
    }
    if !entry.get().starts_with('{') {
        return Err("it is not a JSON object".to_owned());
    }
    // What cannot be read whole (half a surrogate pair, too deep, a number beyond all bounds) PostgreSQL does not take either.
    let whole: Value = serde_json::from_str(entry.get()).map_err(|error| format!("it cannot be read: {error}"))?;
    if has_nul(&whole) {
        return Err("it holds the character NUL, which PostgreSQL does not store".to_owned());
    }
    let fields: Fields = serde_json::from_str(entry.get()).map_err(|error| format!("it cannot be read: {error}"))?;
    if let Some(inner) = fields.snapshot_id.filter(|inner| inner.as_str() != Some(old_id)) {
        return Err(format!("its snapshot_id is {inner}, another than its key"));
    }
    let snapshot_type = match fields.r#type.as_ref().and_then(Value::as_str).filter(|name| !name.trim().is_empty()) {
        Some(name) => name.to_owned(),
        None => return Err("type is missing".to_owned()),
    };
    let event_id = match fields.event_id {
        None => None,
        Some(value) => {
            let id = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
            Some(id.ok_or_else(|| format!("event_id is {value}, not a UUID"))?)
        }
    };
    let created_at = time(fields.created_at, "created_at")?.ok_or("created_at is missing")?;
    let expires_at = time(fields.expires_at, "expires_at")?;
    let params = fields.params.unwrap_or_else(empty_object);
    let data = fields.data.ok_or("data is missing")?;
    Ok(NewRow { id, snapshot_type, event_id, params, data, created_at, expires_at })
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Python's isoformat() of a UTC time has no offset.
fn time(value: Option<Value>, name: &str) -> Result<Option<OffsetDateTime>, String> {
    let text = match value {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => return Err(format!("{name} is {other}, not a time")),
    };
    let at = instant(&text).or_else(|| instant(&format!("{}Z", text.replacen(' ', "T", 1))));
    at.map(Some).ok_or_else(|| format!("{name} is {text:?}, not a time such as 2026-01-05T12:00:00"))
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn raw(entry: &Value) -> Box<RawValue> {
        RawValue::from_string(entry.to_string()).unwrap()
    }

    fn of(entry: &Value) -> Result<NewRow, String> {
        Entry::read(Uuid::nil(), "snap_1".to_owned(), &raw(entry)).row
    }

    /// What becomes of the entry with this as its data.
    fn with_data(data: &str) -> Result<NewRow, String> {
        let text = format!(
            r#"{{"snapshots": {{"snap_1": {{"type": "offer", "created_at": "2026-01-05T12:00:00", "data": {data}}}}}}}"#
        );
        let store: Store = serde_json::from_slice(&json_of_python(text.as_bytes())).unwrap();
        Entry::read(Uuid::nil(), "snap_1".to_owned(), &store.snapshots["snap_1"]).row
    }

    #[test]
    fn every_digit_is_kept() {
        for data in [
            "31.245270191439438",
            "[12345678901234567890123, 0.123456789012345678901234567890, 1e300]",
            r#"{"a": -0.10}"#,
        ] {
            assert_eq!(with_data(data).unwrap().data.get(), data);
        }
    }

    #[test]
    fn what_python_writes_and_json_does_not_know_leaves_out_its_entry_only() {
        for (data, why) in [
            ("[1.5, NaN]", "NaN or Infinity"),
            (r#"{"a": -Infinity}"#, "NaN or Infinity"),
            ("Infinity", "NaN or Infinity"),
            (r#""\ud83d""#, "cannot be read"),
            (&format!("1{}", "0".repeat(400)), "cannot be read"),
            (&format!("{}1{}", "[".repeat(200), "]".repeat(200)), "cannot be read"),
        ] {
            let error = with_data(data).unwrap_err();
            assert!(error.contains(why), "{data}: {error}");
        }
        for text in [r#""NaN \" Infinity""#, r#"{"-Infinity": "I\\"}"#] {
            assert_eq!(with_data(text).unwrap().data.get(), text, "in a string it is text");
        }
    }

    #[test]
    fn times_of_python_are_utc() {
        for text in ["2026-01-05T12:00:00", "2026-01-05 12:00:00", "2026-01-05T12:00:00Z", "2026-01-05T14:00:00+02:00"]
        {
            let row = of(&json!({ "type": "offer", "created_at": text, "data": {} })).unwrap();
            assert_eq!(row.created_at, datetime!(2026-01-05 12:00 UTC), "{text}");
        }
        let row = of(&json!({ "type": "offer", "created_at": "2026-01-05T12:00:00.123456", "data": {} })).unwrap();
        assert_eq!(row.created_at, datetime!(2026-01-05 12:00:00.123456 UTC));
    }

    #[test]
    fn what_is_left_out_says_why() {
        let good = json!({ "snapshot_id": "snap_1", "type": "offer", "created_at": "2026-01-05T12:00:00", "data": {} });
        assert!(of(&good).is_ok());
        for (field, value, why) in [
            ("snapshot_id", json!("snap_2"), "another than its key"),
            ("type", json!(null), "type is missing"),
            ("type", json!(" "), "type is missing"),
            ("event_id", json!("evt-7"), "not a UUID"),
            ("created_at", json!("yesterday"), "not a time"),
            ("created_at", json!(7), "not a time"),
            ("created_at", json!(null), "created_at is missing"),
            ("expires_at", json!("2026-13-05T12:00:00"), "not a time"),
            ("data", json!(null), "data is missing"),
            ("data", json!({ "a": ["\0"] }), "NUL"),
        ] {
            let mut entry = good.clone();
            entry[field] = value;
            let error = of(&entry).unwrap_err();
            assert!(error.contains(why), "{field}: {error}");
        }
        assert!(of(&json!("text")).unwrap_err().contains("not a JSON object"));
    }

    #[test]
    fn ids_are_the_same_at_each_import_and_differ_between_teams() {
        let id = |team| Entry::read(team, "snap_1".to_owned(), &raw(&json!({}))).id;
        assert_eq!(id(Uuid::nil()), id(Uuid::nil()));
        assert_ne!(id(Uuid::nil()), id(Uuid::max()));
    }
}
