//! What a snapshot is to Rust programs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMetadata {
    /// The primary key.
    pub id: Uuid,
    /// The team that owns it.
    pub team_id: Uuid,
    /// `rooms`, `offer`, `products`, `qna` or another.
    pub snapshot_type: String,
    /// The event it belongs to, if any.
    pub event_id: Option<Uuid>,
    /// What the page was asked for.
    pub params: Option<Value>,
    /// By the writer's clock or the column's default; older rows may have none. `None` also outside of the years 1 to 9999.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub created_at: Option<OffsetDateTime>,
    /// By the database's clock it is not shown from then on. Outside of the years 1 to 9999 the first or the last instant of them.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Size of `data` as JSON text, in bytes.
    pub bytes: i64,
}

/// A whole snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Everything but the data.
    #[serde(flatten)]
    pub metadata: SnapshotMetadata,
    /// What the page shows. A number that neither an i64, a u64 nor an f64 holds exactly is rounded to an f64, unless the program
    /// has serde_json's feature `arbitrary_precision`.
    pub data: Value,
}

/// Which snapshots to list.
#[derive(Debug, Clone, Default)]
pub struct SnapshotFilter {
    /// Of this event.
    pub event_id: Option<Uuid>,
    /// Of this type.
    pub snapshot_type: Option<String>,
    /// A page's last row: the list goes on behind it.
    pub after: Option<SnapshotMetadata>,
    /// How many at most; 100 if not set.
    pub limit: Option<u32>,
}

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
