use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

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
    snapshots: Map<String, Value>,
}

/// Reads `page_snapshots/snapshots.json`.
pub(super) fn read(file: &Path, team_id: Uuid) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let store: Store = serde_json::from_slice(&text).with_context(|| {
        format!("{} is not a local snapshot store, which is JSON of the form {{\"snapshots\": {{…}}}}", file.display())
    })?;
    Ok(store.snapshots.into_iter().map(|(old_id, entry)| Entry::read(team_id, old_id, entry)).collect())
}

impl Entry {
    fn read(team_id: Uuid, old_id: String, entry: Value) -> Self {
        let id = Uuid::new_v5(&team_id, old_id.as_bytes());
        let row = row(id, &old_id, entry);
        Self { old_id, id, row }
    }
}

fn row(id: Uuid, old_id: &str, entry: Value) -> Result<NewRow, String> {
    let Value::Object(mut fields) = entry else { return Err("it is not a JSON object".to_owned()) };
    if let Some(inner) = fields.get("snapshot_id").filter(|inner| inner.as_str() != Some(old_id)) {
        return Err(format!("its snapshot_id is {inner}, another than its key"));
    }
    let snapshot_type = match fields.get("type").and_then(Value::as_str).filter(|name| !name.trim().is_empty()) {
        Some(name) => name.to_owned(),
        None => return Err("type is missing".to_owned()),
    };
    let event_id = match fields.get("event_id") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let id = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
            Some(id.ok_or_else(|| format!("event_id is {value}, not a UUID"))?)
        }
    };
    let created_at = time(&fields, "created_at")?.ok_or("created_at is missing")?;
    let expires_at = time(&fields, "expires_at")?;
    let params = match fields.remove("params") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(params) => params,
    };
    let data = fields.remove("data").filter(|data| !data.is_null()).ok_or("data is missing")?;
    if has_nul(&data) || has_nul(&params) || snapshot_type.contains('\0') {
        return Err("it holds the character NUL, which PostgreSQL does not store".to_owned());
    }
    Ok(NewRow { id, snapshot_type, event_id, params, data, created_at, expires_at })
}

/// Python's isoformat() of a UTC time has no offset.
fn time(fields: &Map<String, Value>, name: &str) -> Result<Option<OffsetDateTime>, String> {
    let text = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => return Err(format!("{name} is {other}, not a time")),
    };
    let at = instant(text).or_else(|| instant(&format!("{}Z", text.replacen(' ', "T", 1))));
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

    fn of(entry: Value) -> Result<NewRow, String> {
        Entry::read(Uuid::nil(), "snap_1".to_owned(), entry).row
    }

    #[test]
    fn times_of_python_are_utc() {
        for text in ["2026-01-05T12:00:00", "2026-01-05 12:00:00", "2026-01-05T12:00:00Z", "2026-01-05T14:00:00+02:00"]
        {
            let row = of(json!({ "type": "offer", "created_at": text, "data": {} })).unwrap();
            assert_eq!(row.created_at, datetime!(2026-01-05 12:00 UTC), "{text}");
        }
        let row = of(json!({ "type": "offer", "created_at": "2026-01-05T12:00:00.123456", "data": {} })).unwrap();
        assert_eq!(row.created_at, datetime!(2026-01-05 12:00:00.123456 UTC));
    }

    #[test]
    fn what_is_left_out_says_why() {
        let good = json!({ "snapshot_id": "snap_1", "type": "offer", "created_at": "2026-01-05T12:00:00", "data": {} });
        assert!(of(good.clone()).is_ok());
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
            let error = of(entry).unwrap_err();
            assert!(error.contains(why), "{field}: {error}");
        }
        assert!(of(json!("text")).unwrap_err().contains("not a JSON object"));
    }

    #[test]
    fn ids_are_the_same_at_each_import_and_differ_between_teams() {
        let id = |team| Entry::read(team, "snap_1".to_owned(), json!({})).id;
        assert_eq!(id(Uuid::nil()), id(Uuid::nil()));
        assert_ne!(id(Uuid::nil()), id(Uuid::max()));
    }
}
