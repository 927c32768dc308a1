use std::time::Duration;

use serde::Serialize;

use crate::storage::TypeRetention;
use crate::terminal::duration;

/// What applies to a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// From `created_at` to `expires_at`.
    pub ttl_seconds: u64,
    /// Whether snapshots of the type outlive their event.
    pub keep_after_event: bool,
}

/// A row of the policy, and the snapshots that it applies to.
#[derive(Debug, Serialize)]
pub struct RetentionEntry {
    /// The type; `*` stands for every type without a policy of its own.
    pub snapshot_type: String,
    /// The TTL as the flags read it.
    pub ttl: String,
    /// What applies.
    #[serde(flatten)]
    pub retention: Retention,
    /// Existing rows of the type.
    pub rows: i64,
    /// Those of them that belong to an event.
    pub rows_with_event: i64,
}

impl Retention {
    /// As the policy's row has it.
    #[must_use]
    pub const fn of(row: &TypeRetention) -> Self {
        Self { ttl_seconds: row.ttl.as_secs(), keep_after_event: row.keep_after_event }
    }

    /// What the end of their event does to snapshots of the type.
    #[must_use]
    pub const fn at_event_end(self) -> &'static str {
        if self.keep_after_event { "kept" } else { "deleted" }
    }

    pub(super) const fn ttl(self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }
}

impl From<TypeRetention> for RetentionEntry {
    fn from(row: TypeRetention) -> Self {
        let retention = Retention::of(&row);
        Self {
            ttl: duration(retention.ttl_seconds),
            retention,
            snapshot_type: row.snapshot_type,
            rows: row.rows.all,
            rows_with_event: row.rows.with_event,
        }
    }
}
