//! An operator pauses sweeps or evictions: no replica begins one, one that has begun ends, and a command by hand is refused.

use crate::support::{Worker, World, eventually};

const OFTEN: [(&str, &str); 3] = [
    ("LIFECYCLE_SWEEP_INTERVAL", "100ms"),
    ("LIFECYCLE_EVICT_INTERVAL", "100ms"),
    ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "100"),
];

const SLEEPING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";

async fn command(world: &World, arguments: &[&str]) {
    let done = world.run(arguments).await;
    assert_eq!(done.code, 0, "{done:?}");
}

fn passes(workers: &[Worker], rule: &str) -> f64 {
    workers.iter().map(|worker| worker.metric(&format!("pass_seconds_count{{rule=\"{rule}\"}}"))).sum()
}

#[tokio::test]
async fn paused_pass_begins_in_no_replica_the_other_goes_on_and_resume_ends_it() {
    for (what, rule, other) in [("sweep", "ttl", "cap"), ("evict", "cap", "ttl")] {
        let world = World::new().await;
        command(&world, &["pause", what]).await;
        world.insert_many(world.team().await, 103).await;
        world.insert_expired(3).await;
        let workers = [world.worker_with(&OFTEN).await, world.worker_with(&OFTEN).await];
        eventually("the other pass, several times", async || passes(&workers, other) >= 5.0).await;
        assert!(passes(&workers, rule) < 1.0, "{what}");
        assert_eq!(world.snapshots().await.len(), 103, "{what}: three of the other rule are gone");
        for worker in &workers {
            worker.reaches(&format!("paused{{what=\"{what}\"}}"), 1.0).await;
            assert_eq!(worker.get("/readyz").0, 200);
        }
        command(&world, &["resume", what]).await;
        eventually("the rest to be deleted", async || world.snapshots().await.len() == 100).await;
        for worker in workers {
            eventually("the end in the log", async || worker.logged("no longer paused").len() == 1).await;
            worker.stop().await;
        }
    }
}

#[tokio::test]
async fn pause_in_the_middle_of_a_sweep_takes_effect_with_the_next_batch() {
    let world = World::new().await;
    world.insert_expired(60).await;
    world.make_each_delete_take("0.02").await;
    // Batches of ten rows.
    let worker = world.worker_with(&[OFTEN[0], ("LIFECYCLE_DELETE_RATE", "10")]).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 10.0).await;
    command(&world, &["pause", "sweep"]).await;
    let left = world.snapshots().await;
    assert!(!left.is_empty());
    eventually("the end of the pass in the log", async || {
        worker.logged("pass ended early: an operator has paused it").len() == 1
    })
    .await;
    assert_eq!(world.snapshots().await, left);
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    command(&world, &["resume"]).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 60.0).await;
    assert!(worker.logged("pass failed; trying again at the next interval").is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn command_ends_after_the_deletes_that_began_before_it() {
    let world = World::new().await;
    world.insert_expired(3).await;
    world.make_each_delete_take("1").await;
    let worker = world.worker_with(&OFTEN[..1]).await;
    world.a_delete_is_under_way().await;
    command(&world, &["pause", "sweep"]).await;
    let sleeping: i64 = sqlx::query_scalar(SLEEPING).fetch_one(&world.pool).await.unwrap();
    assert_eq!(sleeping, 0, "no delete is under way");
    worker.stop().await;
}

#[tokio::test]
async fn pause_with_an_end_is_over_then_by_the_databases_clock() {
    let world = World::new().await;
    world.insert_expired(2).await;
    command(&world, &["pause", "sweep", "--for", "2s"]).await;
    let worker = world.worker_with(&OFTEN).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 2.0).await;
    assert_eq!(world.run(&["pause"]).await.json()["paused"].as_array().map(Vec::len), Some(0));
    worker.stop().await;
}

#[tokio::test]
async fn deletes_by_hand_are_refused_while_paused_and_previews_are_not() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&crate::support::Snapshot::of(team).event(event)).await;
    world.insert_many(team, 3).await;
    world.insert_expired(1).await;
    let event = event.to_string();
    for (what, by_hand) in [
        ("sweep", &["sweep"][..]),
        ("evict", &["evict", "--max-snapshots-per-team", "3"]),
        ("consume", &["delete-event", &event]),
    ] {
        command(&world, &["pause", what]).await;
        let before = world.snapshots().await;
        command(&world, by_hand).await;
        let refused = world.run(&[by_hand, &["--yes"]].concat()).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(&format!("`snapshot-lifecycle resume {what}`")), "{refused:?}");
        assert_eq!(world.snapshots().await, before, "{what}");
        command(&world, &["resume", what]).await;
        command(&world, &[by_hand, &["--yes"]].concat()).await;
    }
    assert_eq!(world.snapshots().await.len(), 2, "each deed has taken its one row");
}
