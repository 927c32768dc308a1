//! A model of the rules over plain collections, and random histories that worker and model must agree on.
//!
//! `PROPTEST_CASES` runs more of them. A failing history is shrunk and printed; as an element of [`KEPT`] it stays a test.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, Worker, World, body_of_team, eventually};

/// One step. Teams and events are small numbers, so that histories meet themselves.
#[derive(Debug, Clone)]
enum Step {
    /// A snapshot made now.
    Insert { team: usize, event: Option<usize>, kind: &'static str, expired: bool },
    /// A status that was reached `ago` steps ago, published so many times.
    Status { event: usize, team: Option<usize>, status: &'static str, ago: usize, copies: usize },
    /// All that was published so far, once more.
    Replay,
    /// A TTL sweep by hand.
    Sweep,
    /// An eviction by hand, when all messages are settled.
    Evict,
    /// One of the two workers is stopped softly and started again.
    Restart(usize),
    /// One of the two workers is killed and started again.
    Kill(usize),
}

const TEAMS: usize = 2;
const EVENTS: usize = 4;
const CAP: usize = 3;

/// Histories that failed once.
const KEPT: [&[Step]; 1] = [&[
    Step::Insert { team: 0, event: Some(0), kind: "offer", expired: false },
    Step::Status { event: 0, team: None, status: "confirmed", ago: 0, copies: 2 },
    Step::Insert { team: 0, event: Some(0), kind: "offer", expired: false },
    Step::Kill(0),
    Step::Replay,
    Step::Evict,
]];

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![3 => Just("offer"), 1 => Just("rooms"), 1 => Just("qna"), 1 => Just("menu")];
    let status = prop_oneof![3 => Just("confirmed"), 2 => Just("cancelled"), 1 => Just("lead"), 1 => Just("blocked")];
    prop_oneof![
        8 => (0..TEAMS, proptest::option::of(0..EVENTS), kind, prop::bool::weighted(0.2))
            .prop_map(|(team, event, kind, expired)| Step::Insert { team, event, kind, expired }),
        5 => (0..EVENTS, proptest::option::of(0..TEAMS), status, 0..6_usize, 1..3_usize)
            .prop_map(|(event, team, status, ago, copies)| Step::Status { event, team, status, ago, copies }),
        1 => Just(Step::Replay),
        1 => Just(Step::Sweep),
        2 => Just(Step::Evict),
        1 => (0..2_usize).prop_map(Step::Restart),
        1 => (0..2_usize).prop_map(Step::Kill),
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

    fn ids(&self) -> BTreeSet<Uuid> {
        self.rows.iter().map(|row| row.id).collect()
    }
}

// --- the history ---

/// Runs a history against two workers and the model, and compares the rows.
async fn agree(history: &[Step]) -> Result<(), TestCaseError> {
    let world = World::new().await;
    let mut teams = Vec::new();
    let mut events = Vec::new();
    for _ in 0..TEAMS {
        teams.push(world.team().await);
    }
    for _ in 0..EVENTS {
        events.push(world.event().await);
    }
    // A step a second, long ago enough that nothing expires by itself while the test runs.
    let begin = OffsetDateTime::now_utc() - Duration::hours(1);
    let at = |step: usize| begin + Duration::seconds(i64::try_from(step).unwrap());
    let mut model = Model::default();
    let mut published: Vec<Vec<u8>> = Vec::new();
    let mut workers = [Some(world.worker().await), Some(world.worker().await)];
    for (now, step) in history.iter().enumerate() {
        match step {
            Step::Insert { team, event, kind, expired } => {
                let mut snapshot = Snapshot::of(teams[*team]).kind(kind).created_at(at(now));
                if let Some(event) = event {
                    snapshot = snapshot.event(events[*event]);
                }
                if *expired {
                    snapshot = snapshot.expires_at(OffsetDateTime::UNIX_EPOCH);
                }
                let id = world.insert(&snapshot).await;
                let kept_after_event = *kind == "qna";
                model.rows.push(Row {
                    id,
                    team: *team,
                    event: *event,
                    kept_after_event,
                    created: now,
                    expired: *expired,
                });
            }
            Step::Status { event, team, status, ago, copies } => {
                let reached = now.saturating_sub(*ago);
                let body = body_of_team(events[*event], team.map(|team| teams[team]), status, at(reached));
                world.publish_raw(&vec![body.clone(); *copies]).await;
                published.push(body);
                model.status(*event, *team, status, reached);
            }
            Step::Replay => world.publish_raw(&published).await,
            Step::Sweep => sweep(&world, &mut model).await?,
            Step::Evict => {
                settle(&world, &mut workers).await;
                sweep(&world, &mut model).await?;
                let cap = CAP.to_string();
                let evicted = world.run(&["evict", "--max-snapshots-per-team", &cap, "--yes"]).await;
                prop_assert_eq!(evicted.code, 0, "{:?}", evicted);
                model.evict();
            }
            Step::Restart(which) => {
                if let Some(worker) = workers[*which].take() {
                    worker.stop().await;
                }
                workers[*which] = Some(world.worker().await);
            }
            Step::Kill(which) => {
                if let Some(worker) = workers[*which].take() {
                    worker.kill();
                }
                workers[*which] = Some(world.worker().await);
            }
        }
    }
    settle(&world, &mut workers).await;
    sweep(&world, &mut model).await?;
    prop_assert_eq!(world.snapshots().await, model.ids());
    // Only a team that is not the event's makes a message fail.
    for letter in world.run(&["dlq", "list"]).await.json().as_array().unwrap() {
        prop_assert_eq!(letter["reason"].as_str(), Some("team_mismatch"));
    }
    Ok(())
}

/// A worker also sweeps some seconds after its start, whoever lives so long; so before rows are counted, all that has expired goes.
async fn sweep(world: &World, model: &mut Model) -> Result<(), TestCaseError> {
    let swept = world.run(&["sweep", "--yes"]).await;
    prop_assert_eq!(swept.code, 0, "{:?}", swept);
    model.sweep();
    Ok(())
}

/// Waits until every message has its fate: nothing is ready, and nothing comes back from workers that are stopped.
async fn settle(world: &World, workers: &mut [Option<Worker>; 2]) {
    loop {
        eventually("the queue to be empty", async || world.depth(&world.queue).await == 0).await;
        for worker in workers.iter_mut() {
            if let Some(worker) = worker.take() {
                worker.stop().await;
            }
        }
        let empty = world.depth(&world.queue).await == 0;
        for worker in workers.iter_mut() {
            *worker = Some(world.worker().await);
        }
        if empty {
            return;
        }
    }
}

#[test]
fn worker_and_model_agree_on_histories_that_failed_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for history in KEPT {
        runtime.block_on(agree(history)).unwrap();
    }
}

#[test]
fn worker_and_model_agree_on_random_histories() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12);
    // Each try runs real servers and workers, so a failing history is shrunk for some time only.
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(config);
    let result = runner.run(&prop::collection::vec(step(), 5..40), |history| runtime.block_on(agree(&history)));
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, history)) => panic!("{why}\nthe smallest history that fails, for KEPT:\n{history:#?}"),
        Err(error) => panic!("{error}"),
    }
}
