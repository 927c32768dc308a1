use time::OffsetDateTime;

use super::batches::{Batches, Walk, WalkEnd};
use super::dry_run::DryRun;
use super::pass::{Memory, Pass, PassContext, PassError, Report};
use crate::policy::PassName;
use crate::storage::{Database, DeleteBatch, Expired, NextRow, StorageError, TtlPlace};

/// Deletes the snapshots that had expired, by the database's clock, when the pass began.
#[derive(Debug, Clone, Copy)]
pub struct TtlSweep;

impl DryRun for TtlSweep {
    type Preview = Expired;

    async fn preview(&self, database: &Database) -> Result<Expired, StorageError> {
        database.ttl_count().await
    }
}

impl Pass for TtlSweep {
    type Place = TtlPlace;

    fn name(&self) -> PassName {
        PassName::Ttl
    }

    async fn run_once(&self, context: &PassContext<'_>, memory: &mut Memory<TtlPlace>) -> Result<Report, PassError> {
        let walk = ExpiredRows { context, cutoff: context.database.ttl_cutoff().await? };
        let mut batches = Batches::new(context, &mut memory.size);
        let mut after = memory.begin_at.take();
        let in_the_middle = after.is_some();
        let mut end = batches.walk(&walk, &mut after).await?;
        if in_the_middle && end == WalkEnd::Complete {
            after = None;
            end = batches.walk(&walk, &mut after).await?;
        }
        if end == WalkEnd::GaveUp {
            memory.begin_at = after;
        }
        forget_applied_ahead(context, &batches).await?;
        Ok(batches.report(end))
    }
}

/// Deletes notes that no duplicate of a message can need any more. An error does not end the pass: the next one tries again.
async fn forget_applied_ahead(context: &PassContext<'_>, batches: &Batches<'_>) -> Result<(), PassError> {
    while !context.stop.soft.is_cancelled() {
        match context.database.applied_ahead_forget().await {
            Ok(true) => break,
            Ok(false) => drop(batches.go_on().await?),
            Err(error) => {
                tracing::warn!(error = error.one_line(), "could not forget what was applied ahead of its time");
                break;
            }
        }
    }
    Ok(())
}

/// The rows that had expired at the cutoff, the oldest expiry first.
struct ExpiredRows<'a> {
    context: &'a PassContext<'a>,
    cutoff: OffsetDateTime,
}

impl Walk for ExpiredRows<'_> {
    type Place = TtlPlace;

    async fn delete(&self, after: Option<&TtlPlace>, rows: u32) -> Result<Option<DeleteBatch<TtlPlace>>, StorageError> {
        let PassContext { database, lease, rate, .. } = self.context;
        database.ttl_delete_batch(*lease, after, self.cutoff, rows, *rate).await
    }

    async fn next(&self, after: Option<&TtlPlace>) -> Result<Option<NextRow<TtlPlace>>, StorageError> {
        self.context.database.ttl_next(after, self.cutoff).await
    }
}
