//! A test run that is killed (by a CI limit, for lack of memory) leaves no worker, log or database behind.

use std::process::{Command, Stdio};

use crate::support::{Servers, World, drop_databases_of_dead_runs, eventually};

/// The names of what the run that is killed has made.
const TOLD: &str = "KILLED_RUN_TELLS";

#[tokio::test]
#[ignore = "only to be killed, by the test below"]
async fn run_that_does_not_end() {
    let Some(file) = std::env::var_os(TOLD) else { return };
    let world = World::new().await;
    let worker = world.worker().await;
    let told = [world.name(), &worker.id().to_string(), worker.log_file().to_str().unwrap()].join("\n");
    std::fs::write(file, told).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn run_that_is_killed_leaves_no_worker_log_or_database() {
    let (world, servers) = (World::new().await, Servers::shared());
    let file = std::env::temp_dir().join(format!("{}.told", world.name()));
    let mut run = Command::new(std::env::current_exe().unwrap());
    let run = run.args(["--ignored", "--exact", "project::killed_run::run_that_does_not_end"]).env(TOLD, &file);
    let run = run.env("DATABASE_URL", &servers.database_url).env("AMQP_URL", &servers.amqp_url);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut told = Vec::new();
    eventually("the other run's worker", async || {
        told = std::fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect();
        told.len() == 3
    })
    .await;
    run.kill().unwrap();
    run.wait().unwrap();
    std::fs::remove_file(&file).ok();

    let [database, worker, log] = &told[..] else { unreachable!() };
    let log = std::path::Path::new(log);
    eventually("the worker to be gone", async || !std::path::Path::new("/proc").join(worker).exists()).await;
    eventually("the logs to be gone", async || !log.parent().unwrap().exists()).await;
    drop_databases_of_dead_runs(&world.pool).await;
    let left: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database").fetch_all(&world.pool).await.unwrap();
    assert!(!left.contains(database), "{left:?}");
    assert!(left.iter().any(|name| name == world.name()), "those of a run that lives stay: {left:?}");
}
