//! Worker and model side by side: starting them, comparing them, and letting everything settle.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::TestCaseError;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::expected_rows::{Model, Row};
use super::history::{EVENTS, TEAMS};
use crate::support::{Worker, World, eventually};

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) role: String,
    pub(super) teams: Vec<Uuid>,
    pub(super) events: Vec<Uuid>,
    /// The time of the first step.
    pub(super) begin: OffsetDateTime,
    pub(super) model: Model,
    /// Every row there ever was, by its event.
    pub(super) made: BTreeMap<Uuid, Option<usize>>,
    pub(super) published: Vec<(usize, Vec<u8>)>,
    pub(super) workers: [Option<Worker>; 2],
    /// Events with a row that cannot go at present.
    pub(super) obstructed: BTreeSet<usize>,
    /// Whether its row is kept by a trigger, without a word to us.
    pub(super) kept: bool,
    pub(super) hidden: bool,
    /// Of each reason that is expected.
    pub(super) invalid_json: BTreeSet<Vec<u8>>,
    pub(super) invalid_message: usize,
}

impl Scene {
    pub(super) async fn set_up() -> Self {
        let world = World::new().await;
        let role = world.worker_role();
        world.sql("ALTER TABLE public.snapshots ENABLE ROW LEVEL SECURITY").await;
        let mut teams = Vec::new();
        let mut events = Vec::new();
        for _ in 0..TEAMS {
            teams.push(world.team().await);
        }
        for _ in 0..EVENTS {
            events.push(world.event().await);
        }
        let mut scene = Self {
            world,
            role,
            teams,
            events,
            // A step a second, long ago enough that nothing expires while the test runs.
            begin: OffsetDateTime::now_utc() - Duration::hours(1),
            model: Model::default(),
            made: BTreeMap::new(),
            published: Vec::new(),
            workers: [None, None],
            obstructed: BTreeSet::new(),
            kept: false,
            hidden: false,
            invalid_json: BTreeSet::new(),
            invalid_message: 0,
        };
        for which in 0..2 {
            scene.start(which).await;
        }
        // By then exchange and queue are declared.
        for worker in scene.workers.iter().flatten() {
            worker.becomes_ready(true).await;
        }
        scene
    }

    pub(super) fn at(&self, step: usize) -> OffsetDateTime {
        self.begin + Duration::seconds(i64::try_from(step).unwrap())
    }

    pub(super) async fn start(&mut self, which: usize) {
        let variables = [("DATABASE_URL", &*self.world.url_as(&self.role)), ("LIFECYCLE_MAX_ATTEMPTS", "1")];
        self.workers[which] = Some(self.world.start_worker(&variables).await);
    }

    /// One of the rows that should exist.
    pub(super) fn row(&self, number: usize) -> Option<Row> {
        let count = self.model.rows.len();
        (count > 0).then(|| self.model.rows[number % count].clone())
    }

    /// Nothing too much is gone; what has no obstacle goes beside what has one; without obstacles all goes.
    pub(super) async fn calm(&mut self) -> Result<(), TestCaseError> {
        self.nothing_too_much().await?;
        self.show().await;
        let Self { world, model, made, obstructed, .. } = &*self;
        eventually("the neighbours of what cannot go to be gone", async || {
            let expected = model.ids();
            let too_many = world.snapshots().await.into_iter().filter(|id| !expected.contains(id));
            too_many.filter_map(|id| made.get(&id)).all(|event| event.is_some_and(|event| obstructed.contains(&event)))
        })
        .await;
        self.world.clear_obstacles().await;
        self.settle().await;
        if !self.obstructed.is_empty() {
            let replay = ["dlq", "replay", "--reason", "attempts_exhausted", "--max-replays", "1000", "--yes"];
            let replayed = self.world.run(&replay).await;
            prop_assert_eq!(replayed.code, 0, "{:?}", replayed);
            if std::mem::take(&mut self.kept) {
                // Its message may be done with.
                let again = self.published.iter().filter(|(event, _)| self.obstructed.contains(event));
                let again: Vec<_> = again.map(|(_, body)| body.clone()).collect();
                self.world.publish_raw(&again).await;
            }
            self.obstructed.clear();
            self.settle().await;
        }
        self.nothing_too_much().await
    }

    async fn nothing_too_much(&self) -> Result<(), TestCaseError> {
        let there = self.world.snapshots().await;
        let gone: Vec<_> = self.model.not_expired().into_iter().filter(|id| !there.contains(id)).collect();
        prop_assert!(gone.is_empty(), "deleted though no rule names it: {:?}", gone);
        Ok(())
    }

    pub(super) async fn same(&self, when: &str) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.world.snapshots().await, self.model.ids(), "{}", when);
        Ok(())
    }

    /// Waits until every message has its outcome: nothing is ready or waits for another attempt, and nothing comes back from workers that
    /// are stopped.
    pub(super) async fn settle(&mut self) {
        loop {
            let world = &self.world;
            eventually("the queues to be empty", async || world.waiting().await == 0).await;
            for worker in &mut self.workers {
                if let Some(worker) = worker.take() {
                    worker.stop().await;
                }
            }
            let empty = self.world.waiting().await == 0;
            for which in 0..2 {
                self.start(which).await;
            }
            if empty {
                return;
            }
        }
    }

    /// Each dead letter has a reason that the history gave it.
    pub(super) async fn end(mut self) -> Result<(), TestCaseError> {
        for worker in &mut self.workers {
            if let Some(worker) = worker.take() {
                worker.stop().await;
            }
        }
        let dead_letters = self.world.run(&["dlq", "list"]).await.json();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for dead_letter in dead_letters.as_array().unwrap() {
            *reasons.entry(dead_letter["reason"].as_str().unwrap()).or_default() += 1;
        }
        // A team that is not the event's, as often as such a message came.
        reasons.remove("team_mismatch");
        let expected = [("invalid_json", self.invalid_json.len()), ("invalid_message", self.invalid_message)];
        prop_assert_eq!(reasons, expected.into_iter().filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>());
        self.world.drop_role(&self.role).await;
        Ok(())
    }
}
