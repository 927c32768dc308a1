use uuid::Uuid;

use super::batches::{Batches, Walk, WalkEnd};
use super::dry_run::DryRun;
use super::pass::{Memory, Pass, PassContext, PassError, Report};
use crate::policy::PassName;
use crate::storage::{CapPlace, Database, DeleteBatch, Excess, NextRow, OverfullTeam, StorageError};

/// Deletes the oldest snapshots above the cap, of every team or of one.
#[derive(Debug, Clone, Copy)]
pub struct CapEviction {
    /// How many snapshots a team may have.
    pub cap: u32,
    /// Only this team.
    pub team: Option<Uuid>,
}

/// Where an eviction can begin: in the middle of a team; the teams after it follow.
#[derive(Debug, Clone, Copy)]
pub struct TeamPlace {
    team: OverfullTeam,
    after: Option<CapPlace>,
}

impl DryRun for CapEviction {
    type Preview = Vec<Excess>;

    /// The teams above the cap; with [`team`](Self::team) that one, whether above or not.
    async fn preview(&self, database: &Database) -> Result<Vec<Excess>, StorageError> {
        if let Some(team) = self.team {
            return Ok(vec![database.cap_count(OverfullTeam(team), self.cap).await?]);
        }
        let (mut teams, mut after) = (Vec::new(), None);
        loop {
            let page = database.cap_overfull_teams(self.cap, after).await?;
            for team in page.overfull {
                teams.push(database.cap_count(team, self.cap).await?);
            }
            after = page.last;
            if after.is_none() {
                return Ok(teams);
            }
        }
    }
}

impl Pass for CapEviction {
    type Place = TeamPlace;

    fn name(&self) -> PassName {
        PassName::Cap
    }

    fn is_whole(&self) -> bool {
        self.team.is_none()
    }

    async fn run_once(&self, context: &PassContext<'_>, memory: &mut Memory<TeamPlace>) -> Result<Report, PassError> {
        let mut teams =
            Teams { context, cap: self.cap, batches: Batches::new(context, &mut memory.size), gave_up_at: None };
        let end = if let Some(team) = self.team {
            teams.evict(TeamPlace { team: OverfullTeam(team), after: None }).await?
        } else {
            let begin_at = memory.begin_at.take();
            let mut end = teams.evict_all(begin_at).await?;
            if begin_at.is_some() && end == WalkEnd::Complete {
                end = teams.evict_all(None).await?;
            }
            end
        };
        memory.begin_at = teams.gave_up_at;
        Ok(teams.batches.report(end))
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
    async fn evict_all(&mut self, begin_at: Option<TeamPlace>) -> Result<WalkEnd, PassError> {
        let mut after = begin_at.map(|place| place.team.0);
        if let Some(place) = begin_at {
            let end = self.evict(place).await?;
            if end != WalkEnd::Complete {
                return Ok(end);
            }
        }
        loop {
            let page = self.context.database.cap_overfull_teams(self.cap, after).await?;
            for team in page.overfull {
                let end = self.evict(TeamPlace { team, after: None }).await?;
                if end != WalkEnd::Complete {
                    return Ok(end);
                }
            }
            if page.last.is_none() {
                return Ok(WalkEnd::Complete);
            }
            after = page.last;
            if !self.batches.go_on().await? {
                return Ok(WalkEnd::Stopped);
            }
        }
    }

    async fn evict(&mut self, TeamPlace { team, mut after }: TeamPlace) -> Result<WalkEnd, PassError> {
        let walk = AboveCap { context: self.context, cap: self.cap, team };
        let end = self.batches.walk(&walk, &mut after).await?;
        if end == WalkEnd::GaveUp {
            self.gave_up_at = Some(TeamPlace { team, after });
        }
        Ok(end)
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

    async fn delete(&self, after: Option<&CapPlace>, rows: u32) -> Result<Option<DeleteBatch<CapPlace>>, StorageError> {
        let PassContext { database, lease, rate, .. } = self.context;
        database.cap_evict_batch(*lease, self.team, self.cap, after, rows, *rate).await
    }

    async fn next(&self, after: Option<&CapPlace>) -> Result<Option<NextRow<CapPlace>>, StorageError> {
        self.context.database.cap_next(self.team, self.cap, after).await
    }
}
