use std::time::Duration;

use uuid::Uuid;

use super::dry_run::DryRun;
use crate::lifecycle::Stop;
use crate::storage::{Database, Restamp, RestampBatch, StorageError, Verdict};

/// Gives the existing rows of a type `expires_at = created_at + TTL`.
///
/// It deletes nothing and is run by hand only, so it needs no lease: two of them write the same values.
#[derive(Debug, Clone, Copy)]
pub struct RestampPass<'a> {
    /// The type; `*` stands for every type without a policy of its own.
    pub snapshot_type: &'a str,
    /// From `created_at` to `expires_at`.
    pub ttl: Duration,
}

/// What a restamp did.
#[derive(Debug, Default)]
pub struct RestampReport {
    /// Rows changed.
    pub changed: i64,
    /// Why it ended early. What was changed until then stays; the same restamp does the rest.
    pub end: Option<RestampEnd>,
}

/// Why a restamp has ended early.
#[derive(Debug, thiserror::Error)]
pub enum RestampEnd {
    /// Asked to stop.
    #[error("interrupted")]
    Stopped,
    /// A statement failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Attempts of one batch while others hold locks on its rows, one lock timeout each.
const TRIES: u32 = 10;

impl DryRun for RestampPass<'_> {
    type Preview = Restamp;

    async fn preview(&self, database: &Database) -> Result<Restamp, StorageError> {
        database.restamp_count(self.snapshot_type, self.ttl).await
    }
}

impl RestampPass<'_> {
    /// Changes all rows of the type, batch by batch. A soft stop drops the batch in progress, which rolls back. Never fails: the
    /// report says why it ended early.
    pub async fn run_once(
        &self,
        database: &Database,
        stop: &Stop,
        on_changed: &(dyn Fn(u64) + Send + Sync),
    ) -> RestampReport {
        let mut report = RestampReport::default();
        let mut after = None;
        loop {
            match self.batch(database, after, stop).await {
                Ok(RestampBatch { changed, last }) => {
                    report.changed += changed;
                    on_changed(changed.unsigned_abs());
                    after = last;
                    if after.is_none() {
                        return report;
                    }
                }
                Err(end) => {
                    report.end = Some(end);
                    return report;
                }
            }
        }
    }

    async fn batch(&self, database: &Database, after: Option<Uuid>, stop: &Stop) -> Result<RestampBatch, RestampEnd> {
        let mut tries = 1;
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.soft.cancelled() => return Err(RestampEnd::Stopped),
                batch = database.restamp_batch(self.snapshot_type, self.ttl, after) => batch,
            };
            match batch {
                // Another restamp, or the backend, holds some of the rows.
                Err(error) if matches!(error.verdict(), Verdict::Timeout | Verdict::Conflict) && tries < TRIES => {
                    tries += 1;
                }
                other => return Ok(other?),
            }
        }
    }
}
