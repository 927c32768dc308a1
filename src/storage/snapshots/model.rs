//! What a snapshot is to Rust programs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cursor::Cursor;

/// A snapshot to create.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Snapshot {
    /// Everything but the data.
    #[serde(flatten)]
    pub metadata: SnapshotMetadata,
    /// What the page shows. A number that neither an i64, a u64 nor an f64 holds exactly is rounded to an f64, unless the program
    /// has serde_json's feature `arbitrary_precision`.
    pub data: Value,
}

/// Which snapshots to list.
///
/// ```
/// use snapshot_lifecycle::SnapshotFilter;
/// use uuid::Uuid;
///
/// let offers = SnapshotFilter::default().with_event_id(Uuid::new_v4()).with_type("offer").with_limit(20);
/// assert_eq!((offers.limit, offers.after), (Some(20), None));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SnapshotFilter {
    /// Of this event.
    pub event_id: Option<Uuid>,
    /// Of this type.
    pub snapshot_type: Option<String>,
    /// Where the page before ended: the list goes on behind it.
    pub after: Option<Cursor>,
    /// How many at most; 100 if not set.
    pub limit: Option<u32>,
}

impl From<&SnapshotMetadata> for Cursor {
    fn from(last: &SnapshotMetadata) -> Self {
        Self { created_at: last.created_at, id: last.id }
    }
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

    /// Names its event, with which it ends unless its type outlives events.
    #[must_use]
    pub const fn with_event_id(mut self, event_id: Uuid) -> Self {
        self.event_id = Some(event_id);
        self
    }

    /// Says what the page was asked for.
    #[must_use]
    pub fn with_params(mut self, params: Value) -> Self {
        self.params = params;
        self
    }

    /// Says when it expires, instead of by its type's TTL.
    #[must_use]
    pub const fn with_expires_at(mut self, expires_at: OffsetDateTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }
}

impl SnapshotFilter {
    /// Only those of the event.
    #[must_use]
    pub const fn with_event_id(mut self, event_id: Uuid) -> Self {
        self.event_id = Some(event_id);
        self
    }

    /// Only those of the type.
    #[must_use]
    pub fn with_type(mut self, snapshot_type: impl Into<String>) -> Self {
        self.snapshot_type = Some(snapshot_type.into());
        self
    }

    /// The page behind that one: the cursor of its last row, or the row's metadata.
    #[must_use]
    pub fn with_after(mut self, last: impl Into<Cursor>) -> Self {
        self.after = Some(last.into());
        self
    }

    /// At most that number.
    #[must_use]
    pub const fn with_limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}
