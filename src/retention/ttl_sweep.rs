use super::pass::{Batches, Pass, PassContext, PassError, Report, Step};
use crate::policy::Rule;
use crate::storage::{LeaseName, TtlBatch};

/// Deletes what had expired, by the database's clock, when the pass began.
#[derive(Debug, Clone, Copy)]
pub struct TtlSweep;

impl Pass for TtlSweep {
    fn rule(&self) -> Rule {
        Rule::Ttl
    }

    fn lease(&self) -> LeaseName<'static> {
        LeaseName::Ttl
    }

    async fn run_once(&self, context: &PassContext<'_>) -> Result<Report, PassError> {
        let cutoff = context.database.ttl_cutoff().await?;
        let mut batches = Batches::new(context, self.lease());
        let mut cursor = None;
        let mut kept = false;
        loop {
            let step = batches
                .step(async |rows| {
                    let batch =
                        context.database.delete_expired(context.holder, cursor, cutoff, rows, context.rate).await?;
                    Ok(batch.map(|batch| (batch, batch.deleted)))
                })
                .await?;
            match step {
                Step::Done(TtlBatch { found: 0, .. }) if kept => return Err(PassError::Kept),
                Step::Done(TtlBatch { found: 0, .. }) => return Ok(batches.completed()),
                // What the host keeps is behind us, or there is no way past it.
                Step::Done(batch) if batch.deleted == 0 && batch.cursor == cursor => return Err(PassError::Kept),
                Step::Done(batch) => {
                    kept |= batch.deleted < batch.found;
                    cursor = batch.cursor;
                }
                Step::TooSlow => {}
                Step::Stopped => return Ok(batches.stopped()),
            }
        }
    }
}
