use std::time::Duration;

use serde::Serialize;

use super::dry_run::DryRun;
use super::restamp::{RestampPass, RestampReport};
use super::retention::Retention;
use crate::lifecycle::Stop;
use crate::storage::{Database, Restamp, RowsOfType, StorageError};

/// A change of what applies to a type of snapshot, and the restamp of its existing rows.
#[derive(Debug)]
pub struct RetentionChange {
    /// The type; `*` stands for every type without a policy of its own.
    pub snapshot_type: String,
    /// From `created_at` to `expires_at`; as before where it is absent.
    pub ttl: Option<Duration>,
    /// Whether snapshots of the type outlive their event; as before where it is absent.
    pub keep_after_event: Option<bool>,
    /// Whether existing rows get the new TTL.
    pub restamp: bool,
}

/// What a change would do: the dry run.
#[derive(Debug, Serialize)]
pub struct RetentionPreview {
    /// The type.
    pub snapshot_type: String,
    /// Whether the role may do it.
    pub permitted: bool,
    /// Absent for a type that had no row of its own; `*` applied to it.
    pub before: Option<Retention>,
    /// What would apply.
    pub after: Retention,
    /// Existing rows of the type.
    pub rows: i64,
    /// Those of them that belong to an event.
    pub rows_with_event: i64,
    /// What the restamp would change, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_restamp: Option<Restamp>,
}

/// Why a change is not possible.
#[derive(Debug, thiserror::Error)]
pub enum RetentionChangeError {
    /// The row for every other type is gone, so that there is nothing to inherit from.
    #[error(
        "the retention policy has no row for *; put it back with `retention set '*' --ttl 7d --keep-after-event false --yes`"
    )]
    NoDefault,
    /// A statement failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RetentionChange {
    /// Reads what applies today and counts what [`run_once`](Self::run_once) would change.
    ///
    /// # Errors
    /// When a statement fails, or when nothing says what applies to a type that is not listed.
    pub async fn preview(&self, database: &Database) -> Result<RetentionPreview, RetentionChangeError> {
        let policy = database.retention_list().await?;
        let find = |name: &str| policy.iter().find(|row| row.snapshot_type == name).map(Retention::of);
        let before = find(&self.snapshot_type);
        // A change that names both inherits nothing: this is how the row for `*` is put back.
        let complete = self.ttl.zip(self.keep_after_event);
        let complete =
            complete.map(|(ttl, keep_after_event)| Retention { ttl_seconds: ttl.as_secs(), keep_after_event });
        let inherited = before.or_else(|| find("*")).or(complete).ok_or(RetentionChangeError::NoDefault)?;
        let after = Retention {
            ttl_seconds: self.ttl.map_or(inherited.ttl_seconds, |ttl| ttl.as_secs()),
            keep_after_event: self.keep_after_event.unwrap_or(inherited.keep_after_event),
        };
        let RowsOfType { all: rows, with_event: rows_with_event } =
            database.retention_count(&self.snapshot_type).await?;
        let would_restamp = if self.restamp { Some(self.restamp_pass(after).preview(database).await?) } else { None };
        let permitted = database.retention_may_set(self.restamp).await?;
        let snapshot_type = self.snapshot_type.clone();
        Ok(RetentionPreview { snapshot_type, permitted, before, after, rows, rows_with_event, would_restamp })
    }

    /// Sets the policy, then restamps where it is asked for. The restamp's report says why it ended early.
    ///
    /// # Errors
    /// When the policy could not be set; then nothing has changed.
    pub async fn run_once(
        &self,
        database: &Database,
        preview: &RetentionPreview,
        stop: &Stop,
        on_restamped: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<RestampReport, StorageError> {
        let after = preview.after;
        if preview.before != Some(after) {
            database.retention_set(&self.snapshot_type, after.ttl(), after.keep_after_event).await?;
        }
        if self.restamp {
            Ok(self.restamp_pass(after).run_once(database, stop, on_restamped).await)
        } else {
            Ok(RestampReport::default())
        }
    }

    fn restamp_pass(&self, after: Retention) -> RestampPass<'_> {
        RestampPass { snapshot_type: &self.snapshot_type, ttl: after.ttl() }
    }
}
