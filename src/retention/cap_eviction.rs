use uuid::Uuid;

use super::pass::{Batches, Pass, PassContext, PassError, Report, Step};
use crate::policy::Rule;
use crate::storage::{LeaseName, OverfullTeam};

/// Deletes the oldest above the cap, of every team or of one.
#[derive(Debug, Clone, Copy)]
pub struct CapEviction {
    /// Snapshots a team may have.
    pub cap: u32,
    /// Only this team.
    pub team: Option<Uuid>,
}

impl Pass for CapEviction {
    fn rule(&self) -> Rule {
        Rule::Cap
    }

    fn lease(&self) -> LeaseName<'static> {
        LeaseName::Cap
    }

    async fn run_once(&self, context: &PassContext<'_>) -> Result<Report, PassError> {
        let mut batches = Batches::new(context, self.lease());
        if let Some(team) = self.team {
            let all = self.evict_team(context, &mut batches, OverfullTeam(team)).await?;
            return Ok(if all { batches.completed() } else { batches.stopped() });
        }
        let mut after = None;
        loop {
            let look = context.database.look_for_overfull(self.cap, after).await?;
            for team in look.overfull {
                if !self.evict_team(context, &mut batches, team).await? {
                    return Ok(batches.stopped());
                }
            }
            if look.last.is_none() {
                return Ok(batches.completed());
            }
            after = look.last;
            if !batches.go_on().await? {
                return Ok(batches.stopped());
            }
        }
    }
}

impl CapEviction {
    /// `false` when asked to stop.
    async fn evict_team(
        &self,
        context: &PassContext<'_>,
        batches: &mut Batches<'_>,
        team: OverfullTeam,
    ) -> Result<bool, PassError> {
        loop {
            let step = batches
                .step(async |rows| {
                    let deleted = context.database.evict(context.holder, team, self.cap, rows, context.rate).await?;
                    // Nothing left, or nothing that is free to go: a row held by another is for the next pass.
                    Ok(deleted.map(|deleted| (deleted == 0, deleted)))
                })
                .await?;
            match step {
                Step::Done(true) => return Ok(true),
                Step::Done(false) | Step::TooSlow => {}
                Step::Stopped => return Ok(false),
            }
        }
    }
}
