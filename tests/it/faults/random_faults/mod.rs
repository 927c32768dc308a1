//! Random faults, one after another, while messages come in by each route and the passes run. After each: exactly the rows that the
//! rules leave; at the end: exactly the dead letters that can never succeed, and nothing under way.
//!
//! `FAULTS_MINUTES=60` runs for so long, and with `--nocapture` says at the end how often each fault was tried and what was counted.
//! `FAULTS_ONLY=Row` tries only those whose name begins so; `FAULTS_SEED` takes the choices of a run that failed.

mod fault;
mod inflict;
mod publisher;
mod scene;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fault::{FAULTS, Fault};
use scene::{Count, Scene};

/// Rounds of a run of the whole suite.
const ROUNDS: usize = 6;

/// A fault may last longer than a broken network takes to be noticed, where there is time.
const LONGEST: Duration = Duration::from_secs(5);

const LONGEST_OF_A_LONG_RUN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a long run says what it counted")]
async fn random_faults_lose_nothing_and_delete_nothing_too_much() {
    let minutes = std::env::var("FAULTS_MINUTES").ok().map(|minutes| minutes.parse::<u64>().expect("whole minutes"));
    let until = minutes.map(|minutes| Instant::now() + Duration::from_mins(minutes));
    let mut scene = Scene::set_up(if minutes.is_some() { LONGEST_OF_A_LONG_RUN } else { LONGEST }).await;
    let seed = scene.random.seed;
    eprintln!("seed {seed}");
    let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let faults: Vec<_> = FAULTS.into_iter().filter(|fault| format!("{fault:?}").starts_with(&only)).collect();
    let mut counts: BTreeMap<Fault, Count> = faults.iter().map(|fault| (*fault, Count::default())).collect();
    for round in 0.. {
        if until.map_or(round == ROUNDS, |until| Instant::now() > until) {
            break;
        }
        let fault = faults[scene.random.index(faults.len())];
        eprintln!("round {round}: {fault:?}");
        let count = scene.round(round, fault).await;
        let all = counts.entry(fault).or_default();
        all.rounds += 1;
        all.messages += count.messages;
        all.dead_letters += count.dead_letters;
        all.deleted += count.deleted;
        all.kept += count.kept;
    }
    scene.end().await;
    for (fault, count) in counts {
        eprintln!("{fault:?}: {count:?}");
    }
}
