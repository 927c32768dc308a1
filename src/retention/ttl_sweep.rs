use super::pass::{Batches, Pass, PassContext, PassError, Report, Step};
use crate::policy::Rule;
use crate::storage::LeaseName;

/// Deletes what had expired, by the database's clock, when the pass began.
#[derive(Debug, Clone, Copy)]
pub struct TtlSweep;

impl Pass for TtlSweep {
    fn rule(&self) -> Rule {
        Rule::Ttl
    }

    fn lease(&self) -> LeaseName {
        LeaseName::Ttl
    }

    async fn run_once(&self, context: &PassContext<'_>) -> Result<Report, PassError> {
        let cutoff = context.database.ttl_cutoff().await?;
        let mut batches = Batches::new(context, self.lease());
        let mut cursor = None;
        loop {
            let step = batches
                .step(async |rows| {
                    let batch =
                        context.database.delete_expired(context.holder, cursor, cutoff, rows, context.rate).await?;
                    Ok(batch.map(|batch| ((batch.found, batch.cursor), batch.deleted)))
                })
                .await?;
            match step {
                Step::Done((0, _)) => return Ok(batches.completed()),
                Step::Done((_, next)) => cursor = next,
                Step::TooSlow => {}
                Step::Stopped => return Ok(batches.stopped()),
            }
        }
    }
}
