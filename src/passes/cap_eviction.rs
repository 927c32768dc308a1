use uuid::Uuid;

use super::batches::{Batches, Walk, Walked};
use super::pass::{Memory, Pass, PassContext, PassError, Report};
use crate::policy::PassName;
use crate::storage::{Batch, CapPlace, LeaseName, NextRow, OverfullTeam, StorageError};

/// Deletes the oldest above the cap, of every team or of one.
#[derive(Debug, Clone, Copy)]
pub struct CapEviction {
    /// Snapshots a team may have.
    pub cap: u32,
    /// Only this team.
    pub team: Option<Uuid>,
}

/// Where an eviction can begin: in the middle of a team; the teams behind it follow.
#[derive(Debug, Clone, Copy)]
pub struct TeamPlace {
    team: OverfullTeam,
    after: Option<CapPlace>,
}

impl Pass for CapEviction {
    type Place = TeamPlace;

    fn name(&self) -> PassName {
        PassName::Cap
    }

    fn lease(&self) -> LeaseName<'static> {
        LeaseName::Cap
    }

    fn is_whole(&self) -> bool {
        self.team.is_none()
    }

    async fn run_once(&self, context: &PassContext<'_>, memory: &mut Memory<TeamPlace>) -> Result<Report, PassError> {
        let mut teams =
            Teams { context, cap: self.cap, batches: Batches::new(context, &mut memory.size), gave_up_at: None };
        let walked = if let Some(team) = self.team {
            teams.evict(TeamPlace { team: OverfullTeam(team), after: None }).await?
        } else {
            let begin_at = memory.begin_at.take();
            let mut walked = teams.evict_all(begin_at).await?;
            if begin_at.is_some() && walked == Walked::ToItsEnd {
                walked = teams.evict_all(None).await?;
            }
            walked
        };
        memory.begin_at = teams.gave_up_at;
        Ok(teams.batches.report(walked))
    }
}

/// The teams of one pass.
struct Teams<'a> {
    context: &'a PassContext<'a>,
    cap: u32,
    batches: Batches<'a>,
    gave_up_at: Option<TeamPlace>,
}

impl Teams<'_> {
    /// Every team above the cap, from the first or from a place on.
    async fn evict_all(&mut self, begin_at: Option<TeamPlace>) -> Result<Walked, PassError> {
        let mut after = begin_at.map(|place| place.team.0);
        if let Some(place) = begin_at {
            let walked = self.evict(place).await?;
            if walked != Walked::ToItsEnd {
                return Ok(walked);
            }
        }
        loop {
            let page = self.context.database.cap_overfull_teams(self.cap, after).await?;
            for team in page.overfull {
                let walked = self.evict(TeamPlace { team, after: None }).await?;
                if walked != Walked::ToItsEnd {
                    return Ok(walked);
                }
            }
            if page.last.is_none() {
                return Ok(Walked::ToItsEnd);
            }
            after = page.last;
            if !self.batches.go_on().await? {
                return Ok(Walked::Stopped);
            }
        }
    }

    async fn evict(&mut self, TeamPlace { team, mut after }: TeamPlace) -> Result<Walked, PassError> {
        let walk = AboveCap { context: self.context, cap: self.cap, team };
        let walked = self.batches.walk(&walk, &mut after).await?;
        if walked == Walked::GaveUp {
            self.gave_up_at = Some(TeamPlace { team, after });
        }
        Ok(walked)
    }
}

/// A team's snapshots above the cap, the oldest first.
struct AboveCap<'a> {
    context: &'a PassContext<'a>,
    cap: u32,
    team: OverfullTeam,
}

impl Walk for AboveCap<'_> {
    type Place = CapPlace;

    async fn delete(&self, after: Option<&CapPlace>, rows: u32) -> Result<Option<Batch<CapPlace>>, StorageError> {
        let PassContext { database, lease, rate, .. } = self.context;
        database.cap_evict_batch(*lease, self.team, self.cap, after, rows, *rate).await
    }

    async fn next(&self, after: Option<&CapPlace>) -> Result<Option<NextRow<CapPlace>>, StorageError> {
        self.context.database.cap_next(self.team, self.cap, after).await
    }
}
