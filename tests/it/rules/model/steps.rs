//! One step of a history, done to the worker and to the model.

use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::TestCaseError;
use time::OffsetDateTime;

use super::expected_rows::{Model, Row};
use super::history::{CAP, Step};
use super::scene::Scene;
use crate::support::{Obstacle, Snapshot, body_of_team};

impl Scene {
    pub(super) async fn step(&mut self, now: usize, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Insert { team, event, kind, expired } => self.insert(now, *team, *event, kind, *expired).await,
            Step::Status { event, team, status, ago, copies } => {
                let reached = now.saturating_sub(*ago);
                let team_id = team.map(|team| self.teams[team]);
                let body = body_of_team(self.events[*event], team_id, status, self.at(reached));
                self.world.publish_raw(&vec![body.clone(); *copies]).await;
                self.published.push((*event, body));
                self.model.status(*event, *team, status, reached);
            }
            Step::Replay => {
                let bodies: Vec<_> = self.published.iter().map(|(_, body)| body.clone()).collect();
                self.world.publish_raw(&bodies).await;
            }
            Step::Sweep(beside) => {
                self.calm().await?;
                self.sweep(*beside).await?;
            }
            Step::Evict(beside) => {
                self.calm().await?;
                self.sweep(None).await?;
                self.same("before an eviction").await?;
                self.evict(*beside).await?;
            }
            Step::Restart(which) => {
                // With rows hidden from it, a worker does not start.
                self.show().await;
                if let Some(worker) = self.workers[*which].take() {
                    worker.stop().await;
                }
                self.start(*which).await;
            }
            Step::Kill(which) => {
                self.show().await;
                if let Some(worker) = self.workers[*which].take() {
                    worker.kill();
                }
                self.start(*which).await;
            }
            Step::Obstruct(row, obstacle) => self.obstruct(*row, *obstacle).await,
            Step::Hide(policy) => self.hide(*policy).await,
            Step::Calm => {
                self.calm().await?;
                self.sweep(None).await?;
                self.same("once calm").await?;
            }
            Step::Hostile { event, seed } => self.hostile(now, *event, *seed).await,
            Step::Ahead { event, minutes } => self.ahead(*event, *minutes).await?,
            Step::ClockSteps { minutes } => self.clock_steps(*minutes).await,
        }
        Ok(())
    }

    async fn insert(&mut self, now: usize, team: usize, event: Option<usize>, kind: &'static str, expired: bool) {
        let mut snapshot = Snapshot::of(self.teams[team]).kind(kind).created_at(self.at(now));
        if let Some(event) = event {
            snapshot = snapshot.event(self.events[event]);
        }
        if expired {
            snapshot = snapshot.expires_at(OffsetDateTime::UNIX_EPOCH);
        }
        let id = self.world.insert(&snapshot).await;
        self.made.insert(id, event);
        self.model.rows.push(Row { id, team, event, kept_after_event: kind == "qna", created: now, expired });
    }

    /// A worker also sweeps some seconds after its start, whoever lives so long; so before rows are counted, all that has expired goes.
    pub(super) async fn sweep(&mut self, beside: Option<(usize, Obstacle)>) -> Result<(), TestCaseError> {
        self.by_hand(&["sweep", "--yes"], beside, Model::sweep).await
    }

    async fn evict(&mut self, beside: Option<(usize, Obstacle)>) -> Result<(), TestCaseError> {
        let cap = CAP.to_string();
        self.by_hand(&["evict", "--max-snapshots-per-team", &cap, "--yes"], beside, Model::evict).await
    }

    /// A pass costs a row that cannot go nothing but itself, and says which.
    async fn by_hand(
        &mut self,
        command: &[&str],
        beside: Option<(usize, Obstacle)>,
        rule: fn(&mut Model),
    ) -> Result<(), TestCaseError> {
        if let Some((number, obstacle)) = beside
            && let Some(row) = self.row(number)
        {
            self.world.obstruct(row.id, obstacle).await;
            let pass = self.world.run(command).await;
            let there = self.world.snapshots().await;
            let mut after = Model { rows: self.model.rows.clone() };
            rule(&mut after);
            let expected = after.not_expired();
            let stays = there.contains(&row.id) && !after.ids().contains(&row.id);
            let others = || there.iter().filter(|id| **id != row.id && !after.ids().contains(id)).count();
            prop_assert!(expected.is_subset(&there), "deleted too much beside {obstacle:?}: {:?}", pass);
            prop_assert_eq!(others(), 0, "left beside {:?}: {:?}", obstacle, pass);
            if obstacle != Obstacle::Keeps {
                prop_assert_eq!(pass.code, i32::from(stays), "beside {:?}: {:?}", obstacle, pass);
                prop_assert!(!stays || pass.stderr.contains(&row.id.to_string()), "which one stayed: {:?}", pass);
            }
            self.world.clear_obstacles().await;
        }
        let pass = self.world.run(command).await;
        prop_assert_eq!(pass.code, 0, "{:?}", pass);
        rule(&mut self.model);
        Ok(())
    }
}
