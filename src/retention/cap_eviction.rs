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

/// Teams looked up at once.
const TEAMS_A_LOOK: u32 = 200;

impl Pass for CapEviction {
    fn rule(&self) -> Rule {
        Rule::Cap
    }

    fn lease(&self) -> LeaseName {
        LeaseName::Cap
    }

    async fn run_once(&self, context: &PassContext<'_>) -> Result<Report, PassError> {
        let mut batches = Batches::new(context, self.lease());
        let mut after = None;
        loop {
            let teams = match self.team {
                Some(team) => vec![OverfullTeam(team)],
                None => context.database.overfull_teams(self.cap, after, TEAMS_A_LOOK).await?,
            };
            for team in &teams {
                if !self.evict_team(context, &mut batches, *team).await? {
                    return Ok(batches.stopped());
                }
            }
            after = teams.last().map(|team| team.0);
            if self.team.is_some() || after.is_none() {
                return Ok(batches.completed());
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
