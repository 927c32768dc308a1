//! What a snapshot is to Rust programs.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

/// A snapshot to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSnapshot {
    /// `rooms`, `offer`, `products`, `qna` or another.
    pub snapshot_type: String,
    /// The event it belongs to, if any.
    pub event_id: Option<Uuid>,
    /// What the page was asked for; an empty object by default.
    pub params: Value,
    /// What the page shows.
    pub data: Value,
    /// When it expires; `None` for its type's TTL.
    pub expires_at: Option<OffsetDateTime>,
}

/// A snapshot without its data.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct SnapshotMetadata {
    /// Of the row.
    pub id: Uuid,
    /// Whose it is.
    pub team_id: Uuid,
    /// `rooms`, `offer`, `products`, `qna` or another.
    pub snapshot_type: String,
    /// The event it belongs to, if any.
    pub event_id: Option<Uuid>,
    /// What the page was asked for.
    pub params: Option<Value>,
    /// By the writer's clock or the column's default; older rows may have none.
    #[serde(with = "time::serde::rfc3339::option")]
    pub created_at: Option<OffsetDateTime>,
    /// By the database's clock it is not shown from then on.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Of the data as JSON text.
    pub bytes: i64,
}

/// A whole snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Snapshot {
    /// Everything but the data.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub metadata: SnapshotMetadata,
    /// What the page shows. A number that neither an i64, a u64 nor an f64 holds exactly is rounded to an f64, unless the program
    /// has serde_json's feature `arbitrary_precision`.
    pub data: Value,
}

/// A whole snapshot with its data as the database writes it: every digit of every number.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct StoredSnapshot {
    /// Everything but the data.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub metadata: SnapshotMetadata,
    /// What the page shows.
    #[sqlx(json)]
    pub data: Box<RawValue>,
}

/// Which snapshots to list.
#[derive(Debug, Clone, Default)]
pub struct SnapshotFilter {
    /// Of this event.
    pub event_id: Option<Uuid>,
    /// Of this type.
    pub snapshot_type: Option<String>,
    /// Behind this one, the last of an earlier page.
    pub after: Option<SnapshotMetadata>,
    /// How many at most; 100 if not set.
    pub limit: Option<u32>,
}

/// As SQL: the columns of [`SnapshotMetadata`]. PostgreSQL has years from 4713 BC to 294276, and infinity; RFC 3339 and our type for
/// instants have 0001 to 9999. A row made outside of them counts as one of unknown age; one that expires outside of them
/// shows the first or the last instant.
macro_rules! columns {
    () => {
        "id, team_id, snapshot_type, event_id, params, octet_length(data::text)::bigint AS bytes, \
         CASE WHEN created_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59Z' THEN created_at END AS created_at, \
         GREATEST(LEAST(expires_at, '9999-12-31T23:59:59Z'), '0001-01-01T00:00:00Z') AS expires_at"
    };
}
pub(in crate::storage) use columns;

/// The instant in UTC, if that is one of the years 1 to 9999, which is what we read back and write as RFC 3339. sqlx would panic at
/// one that has no time in UTC.
pub(in crate::storage) fn in_our_calendar(at: OffsetDateTime) -> Option<OffsetDateTime> {
    at.checked_to_offset(UtcOffset::UTC).filter(|at| (1..=9999).contains(&at.year()))
}

impl NewSnapshot {
    /// Of no event, with no parameters, expiring by its type's TTL.
    #[must_use]
    pub fn new(snapshot_type: impl Into<String>, data: Value) -> Self {
        Self {
            snapshot_type: snapshot_type.into(),
            event_id: None,
            params: Value::Object(serde_json::Map::new()),
            data,
            expires_at: None,
        }
    }

    /// The same of an event.
    #[must_use]
    pub const fn event(mut self, event_id: Uuid) -> Self {
        self.event_id = Some(event_id);
        self
    }
}
