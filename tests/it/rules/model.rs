//! A model of the rules over plain collections, and random histories that worker and model must agree on. Beside the histories an adversary
//! is at work: rows that cannot be deleted, rows that are hidden, hostile messages, clocks that step.
//!
//! `MODEL_HISTORIES` runs more of them, `MODEL_SEED` those of a run that failed. A failing history is shrunk, printed, and kept under
//! target/model-failures; as an element of [`kept`] it stays a test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::storage::access::{drop_role, url_of, worker_role};
use crate::support::{Obstacle, Policy, Random, SQLSTATES, Snapshot, Worker, World, body_of_team, eventually};

/// One step. Teams and events are small numbers, so that histories meet themselves.
#[derive(Debug, Clone)]
enum Step {
    /// A snapshot made now.
    Insert { team: usize, event: Option<usize>, kind: &'static str, expired: bool },
    /// A status that was reached `ago` steps ago, published so many times.
    Status { event: usize, team: Option<usize>, status: &'static str, ago: usize, copies: usize },
    /// All that was published so far, once more.
    Replay,
    /// A TTL sweep by hand, beside an obstacle before one row.
    Sweep(Option<(usize, Obstacle)>),
    /// An eviction by hand, when all messages are settled, beside an obstacle before one row.
    Evict(Option<(usize, Obstacle)>),
    /// One of the two workers is stopped softly and started again.
    Restart(usize),
    /// One of the two workers is killed and started again.
    Kill(usize),
    /// An obstacle before one of the rows that should be there, while messages come.
    Obstruct(usize, Obstacle),
    /// Rows are hidden from the workers.
    Hide(Policy),
    /// All obstacles go, all rows are shown, and worker and model are compared.
    Calm,
    /// A status whose headers and properties were chosen to do harm, and a body that is no message with others such.
    Hostile { event: usize, seed: u64 },
    /// A status so many minutes ahead of our clock.
    Ahead { event: usize, minutes: i64 },
    /// Leases, the ends of passes and the delete budget are so many minutes ahead, as after a failover to a server whose clock is behind.
    ClockSteps { minutes: i64 },
}

const TEAMS: usize = 2;
const EVENTS: usize = 4;
const CAP: usize = 3;

/// Histories that failed once, and one of each of the adversary's ways.
fn kept() -> Vec<Vec<Step>> {
    let offer = || Step::Insert { team: 0, event: Some(0), kind: "offer", expired: false };
    let other = || Step::Insert { team: 0, event: Some(1), kind: "offer", expired: false };
    let expired = || Step::Insert { team: 1, event: None, kind: "menu", expired: true };
    let ends = |event| Step::Status { event, team: None, status: "confirmed", ago: 0, copies: 1 };
    vec![
        vec![
            offer(),
            Step::Status { event: 0, team: None, status: "confirmed", ago: 0, copies: 2 },
            offer(),
            Step::Kill(0),
            Step::Replay,
            Step::Evict(None),
        ],
        vec![offer(), other(), Step::Obstruct(0, Obstacle::Raises("57P01")), ends(0), ends(1), Step::Calm],
        vec![offer(), other(), Step::Obstruct(1, Obstacle::Referenced), Step::Hostile { event: 1, seed: 7 }, ends(0)],
        vec![offer(), other(), Step::Obstruct(0, Obstacle::Keeps), ends(0), ends(1)],
        vec![offer(), other(), Step::Hide(Policy::Half), ends(0), ends(1), Step::Calm, offer(), ends(0)],
        vec![
            expired(),
            expired(),
            Step::Sweep(Some((0, Obstacle::Raises("40001")))),
            expired(),
            Step::ClockSteps { minutes: 600 },
        ],
        vec![offer(), other(), offer(), other(), offer(), Step::Evict(Some((0, Obstacle::Referenced)))],
        vec![offer(), Step::Ahead { event: 0, minutes: 4 }, other(), Step::Ahead { event: 1, minutes: 10 }],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![3 => Just("offer"), 1 => Just("rooms"), 1 => Just("qna"), 1 => Just("menu")];
    let status = prop_oneof![3 => Just("confirmed"), 2 => Just("cancelled"), 1 => Just("lead"), 1 => Just("blocked")];
    let obstacle = || {
        prop_oneof![
            3 => prop::sample::select(&SQLSTATES[..]).prop_map(Obstacle::Raises),
            1 => Just(Obstacle::Keeps),
            1 => Just(Obstacle::Referenced),
        ]
    };
    let beside = || prop::option::weighted(0.4, (0..30_usize, obstacle()));
    let policy = prop_oneof![
        Just(Policy::SelectNothing),
        Just(Policy::DeleteNothing),
        Just(Policy::LockNothing),
        Just(Policy::Half)
    ];
    prop_oneof![
        12 => (0..TEAMS, proptest::option::of(0..EVENTS), kind, prop::bool::weighted(0.2))
            .prop_map(|(team, event, kind, expired)| Step::Insert { team, event, kind, expired }),
        8 => (0..EVENTS, proptest::option::of(0..TEAMS), status, 0..6_usize, 1..3_usize)
            .prop_map(|(event, team, status, ago, copies)| Step::Status { event, team, status, ago, copies }),
        1 => Just(Step::Replay),
        1 => beside().prop_map(Step::Sweep),
        2 => beside().prop_map(Step::Evict),
        1 => (0..2_usize).prop_map(Step::Restart),
        1 => (0..2_usize).prop_map(Step::Kill),
        3 => (0..30_usize, obstacle()).prop_map(|(row, obstacle)| Step::Obstruct(row, obstacle)),
        1 => policy.prop_map(Step::Hide),
        1 => Just(Step::Calm),
        1 => (0..EVENTS, any::<u64>()).prop_map(|(event, seed)| Step::Hostile { event, seed }),
        1 => (0..EVENTS, prop_oneof![Just(4), Just(10)]).prop_map(|(event, minutes)| Step::Ahead { event, minutes }),
        1 => (1..100_000_i64).prop_map(|minutes| Step::ClockSteps { minutes }),
    ]
}

// --- the model ---

#[derive(Debug, Clone)]
struct Row {
    id: Uuid,
    team: usize,
    event: Option<usize>,
    kept_after_event: bool,
    created: usize,
    expired: bool,
}

/// What should be there.
#[derive(Debug, Default)]
struct Model {
    rows: Vec<Row>,
}

impl Model {
    /// Snapshots of the event, and of the team where one is named, made at or before the status, of a type that ends with its event.
    fn status(&mut self, event: usize, team: Option<usize>, status: &str, reached: usize) {
        let ends = ["confirmed", "cancelled"].contains(&status);
        self.rows.retain(|row| {
            let its = row.event == Some(event) && team.is_none_or(|team| team == row.team);
            !(ends && its && row.created <= reached && !row.kept_after_event)
        });
    }

    fn sweep(&mut self) {
        self.rows.retain(|row| !row.expired);
    }

    /// The newest of each team stay.
    fn evict(&mut self) {
        let mut by_team: BTreeMap<usize, Vec<(usize, Uuid)>> = BTreeMap::new();
        for row in &self.rows {
            by_team.entry(row.team).or_default().push((row.created, row.id));
        }
        let mut stay = BTreeSet::new();
        for mut rows in by_team.into_values() {
            rows.sort_unstable();
            stay.extend(rows.into_iter().rev().take(CAP).map(|(_, id)| id));
        }
        self.rows.retain(|row| stay.contains(&row.id));
    }

    /// What nobody may delete: a worker may sweep the others at any time.
    fn not_expired(&self) -> BTreeSet<Uuid> {
        self.rows.iter().filter(|row| !row.expired).map(|row| row.id).collect()
    }

    fn ids(&self) -> BTreeSet<Uuid> {
        self.rows.iter().map(|row| row.id).collect()
    }
}

// --- the history ---

/// Runs a history against two workers and the model, and compares the rows.
async fn agree(history: &[Step]) -> Result<(), TestCaseError> {
    let mut scene = Scene::set_up().await;
    for (now, step) in history.iter().enumerate() {
        scene.step(now, step).await?;
    }
    scene.calm().await?;
    scene.sweep(None).await?;
    scene.same("at the end").await?;
    scene.end().await
}

struct Scene {
    world: World,
    role: String,
    teams: Vec<Uuid>,
    events: Vec<Uuid>,
    /// The time of the first step.
    begin: OffsetDateTime,
    model: Model,
    /// Every row there ever was, by its event.
    made: BTreeMap<Uuid, Option<usize>>,
    published: Vec<(usize, Vec<u8>)>,
    workers: [Option<Worker>; 2],
    /// Events with a row that cannot go at present.
    obstructed: BTreeSet<usize>,
    /// Whether its row is kept by a trigger, without a word to us.
    kept: bool,
    hidden: bool,
    /// Of each reason that is expected.
    invalid_json: BTreeSet<Vec<u8>>,
    invalid_message: usize,
}

impl Scene {
    async fn set_up() -> Self {
        let world = World::new().await;
        let role = worker_role(&world).await;
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
            // A step a second, long ago enough that nothing expires by itself while the test runs.
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

    fn at(&self, step: usize) -> OffsetDateTime {
        self.begin + Duration::seconds(i64::try_from(step).unwrap())
    }

    async fn start(&mut self, which: usize) {
        let variables = [("DATABASE_URL", &*url_of(&self.world, &self.role)), ("LIFECYCLE_MAX_ATTEMPTS", "1")];
        self.workers[which] = Some(self.world.start_worker(&variables).await);
    }

    async fn step(&mut self, now: usize, step: &Step) -> Result<(), TestCaseError> {
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
            Step::Obstruct(row, obstacle) => {
                if let Some(row) = self.row(*row) {
                    self.world.obstruct(row.id, *obstacle).await;
                    self.obstructed.extend(row.event);
                    self.kept |= *obstacle == Obstacle::Keeps;
                }
            }
            Step::Hide(policy) => {
                // A worker that starts on hidden rows refuses to; here they are hidden under a running one.
                for worker in self.workers.iter().flatten() {
                    eventually("the worker to consume", async || !worker.logged("consuming").is_empty()).await;
                }
                self.world.hide_rows(&self.role, *policy).await;
                self.hidden = true;
            }
            Step::Calm => {
                self.calm().await?;
                self.sweep(None).await?;
                self.same("once calm").await?;
            }
            Step::Hostile { event, seed } => {
                let mut random = Random::of(*seed);
                let no_message = format!("not json {now} {seed}").into_bytes();
                let body = body_of_team(self.events[*event], None, "cancelled", self.at(now));
                self.world.publish_hostile(&[no_message.clone(), body.clone()], &mut random).await;
                self.invalid_json.insert(no_message);
                self.published.push((*event, body));
                self.model.status(*event, None, "cancelled", now);
            }
            Step::Ahead { event, minutes } => self.ahead(*event, *minutes).await?,
            Step::ClockSteps { minutes } => {
                self.world
                    .sql(format!(
                        "UPDATE snapshot_lifecycle.lease SET holder = gen_random_uuid(),
                             expires_at = clock_timestamp() + interval '{minutes} min',
                             completed_at = clock_timestamp() + interval '{minutes} min';
                         UPDATE snapshot_lifecycle.delete_budget SET free_at = clock_timestamp() + interval '{minutes} min'"
                    ))
                    .await;
            }
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

    /// One of those that should be there.
    fn row(&self, number: usize) -> Option<Row> {
        let count = self.model.rows.len();
        (count > 0).then(|| self.model.rows[number % count].clone())
    }

    /// Applied where it is within what clocks may differ by, and never to a snapshot that was made after that; else a dead letter.
    async fn ahead(&mut self, event: usize, minutes: i64) -> Result<(), TestCaseError> {
        self.calm().await?;
        let now = OffsetDateTime::now_utc();
        let later = Snapshot::of(self.teams[0]).event(self.events[event]).created_at(now + Duration::minutes(3));
        let later = self.world.insert(&later).await;
        let body = body_of_team(self.events[event], None, "confirmed", now + Duration::minutes(minutes));
        self.world.publish_raw(&[body]).await;
        self.settle().await;
        prop_assert!(self.world.snapshots().await.contains(&later), "a snapshot made after the message was applied");
        self.world.sql(format!("DELETE FROM public.snapshots WHERE id = '{later}'")).await;
        if minutes > 5 {
            self.invalid_message += 1;
        } else {
            self.model.status(event, None, "confirmed", usize::MAX);
        }
        Ok(())
    }

    async fn show(&mut self) {
        if std::mem::take(&mut self.hidden) {
            self.world.show_rows(&self.role).await;
        }
    }

    /// Nothing too much is gone; what has no obstacle goes beside what has one; without obstacles all goes.
    async fn calm(&mut self) -> Result<(), TestCaseError> {
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

    async fn same(&self, when: &str) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.world.snapshots().await, self.model.ids(), "{}", when);
        Ok(())
    }

    /// A worker also sweeps some seconds after its start, whoever lives so long; so before rows are counted, all that has expired goes.
    async fn sweep(&mut self, beside: Option<(usize, Obstacle)>) -> Result<(), TestCaseError> {
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

    /// Waits until every message has its outcome: nothing is ready or waits for another attempt, and nothing comes back from workers that
    /// are stopped.
    async fn settle(&mut self) {
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
    async fn end(mut self) -> Result<(), TestCaseError> {
        for worker in &mut self.workers {
            if let Some(worker) = worker.take() {
                worker.stop().await;
            }
        }
        let letters = self.world.run(&["dlq", "list"]).await.json();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for letter in letters.as_array().unwrap() {
            *reasons.entry(letter["reason"].as_str().unwrap()).or_default() += 1;
        }
        // A team that is not the event's, as often as such a message came.
        reasons.remove("team_mismatch");
        let expected = [("invalid_json", self.invalid_json.len()), ("invalid_message", self.invalid_message)];
        prop_assert_eq!(reasons, expected.into_iter().filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>());
        drop_role(&self.world, &self.role).await;
        Ok(())
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a failed test says which one")]
fn worker_and_model_agree_on_histories_that_are_kept() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for history in kept() {
        eprintln!("{history:?}");
        runtime.block_on(agree(&history)).unwrap_or_else(|why| panic!("{why}\n{history:#?}"));
    }
}

#[test]
fn worker_and_model_agree_on_random_histories() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = number("MODEL_SEED").unwrap_or_else(|| Random::new().seed);
    let cases = number("MODEL_HISTORIES").and_then(|cases| cases.try_into().ok()).unwrap_or(8);
    // Each try runs real servers and workers, so a failing history is shrunk for some minutes only.
    let shrink = (60, 300_000);
    let config = Config {
        cases,
        max_shrink_iters: shrink.0,
        max_shrink_time: shrink.1,
        failure_persistence: None,
        ..Config::default()
    };
    let bytes = [seed.to_le_bytes(); 4].concat();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let result = runner.run(&prop::collection::vec(step(), 5..40), |history| runtime.block_on(agree(&history)));
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, history)) => {
            let text = format!(
                "{why}\nMODEL_SEED={seed}\nthe smallest history that was found to fail, for kept():\n{history:#?}\n"
            );
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("../model-failures/{seed}.txt"));
            std::fs::create_dir_all(file.parent().unwrap()).and_then(|()| std::fs::write(&file, &text)).unwrap();
            panic!("{text}kept as {}", file.display());
        }
        Err(error) => panic!("{error}\nMODEL_SEED={seed}"),
    }
}
