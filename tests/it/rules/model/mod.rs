//! A model of the rules over plain collections, and random histories that worker and model must agree on. Beside the histories an adversary
//! is at work: rows that cannot be deleted, rows that are hidden, hostile messages, clocks that step.
//!
//! `MODEL_HISTORIES` runs more of them, `MODEL_SEED` those of a run that failed. A failing history is shrunk, printed, and kept under
//! target/model-failures; as an element of `kept()` it stays a test.

mod adversary;
mod expected_rows;
mod history;
mod kept;
mod scene;
mod steps;

use std::path::Path;

use history::{Step, step};
use kept::kept;
use proptest::prelude::prop;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use scene::Scene;

use crate::support::Random;

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
