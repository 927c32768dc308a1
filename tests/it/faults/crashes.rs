//! Workers that are killed or stand still: no row too many, and each message is applied or a dead letter.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Random, Snapshot, World, eventually, set};

#[tokio::test]
async fn killed_worker_leaves_its_messages_to_the_next() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(200).await;
    // Each delete takes a while, so that the kill comes in the middle.
    world.make_each_delete_take("0.002").await;
    let worker = world.worker_with(&[("LIFECYCLE_PREFETCH", "50")]).await;
    world.publish_raw(&booked).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.kill();
    let next = world.worker().await;
    eventually("all rows of ended events to be gone", async || world.snapshots().await == set([survivor])).await;
    next.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn message_that_crashes_worker_after_worker_takes_no_neighbour_with_it() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let bodies = world.ending_events(50).await;
    // The first kills whoever takes it: its row is locked, and a worker that waits for it is killed.
    world.make_each_delete_take("5").await;
    world.publish_raw(&bodies).await;
    for _ in 0..25 {
        let worker = world.start_worker(&[]).await;
        eventually("messages to be taken", async || world.depth(&world.queue).await < 50).await;
        worker.kill();
        eventually("them to be back", async || world.depth(&world.queue).await + world.dead_letters().await >= 50)
            .await;
    }
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'").await;
    let worker = world.worker().await;
    eventually("the queue to be worked off", async || {
        worker.metric("messages_total{outcome=\"applied\"}") + f64::from(world.dead_letters().await) >= 50.0
    })
    .await;
    let dead = world.dead_letters().await;
    assert!(dead <= 2, "{dead} dead letters: the neighbours of the one that crashes must not pay for it");
    assert_eq!(world.snapshots().await.len(), dead as usize, "a row stays for each dead letter, and no other");
    for dead_letter in world.run(&["dlq", "list"]).await.json().as_array().unwrap() {
        assert_eq!(dead_letter["reason"], "delivery_limit");
    }
    worker.stop().await;
}

#[tokio::test]
async fn worker_begins_with_one_message_and_goes_on_with_a_whole_prefetch() {
    let world = World::new().await;
    world.worker().await.stop().await;
    world.make_each_delete_take("1.2").await;
    world.publish_raw(&world.ending_events(10).await).await;
    let worker = world.start_worker(&[("LIFECYCLE_PREFETCH", "4")]).await;
    eventually("the first to be taken", async || world.depth(&world.queue).await < 10).await;
    assert_eq!(world.depth(&world.queue).await, 9);
    eventually("more to be taken", async || world.depth(&world.queue).await < 8).await;
    // The first is done, and the second came to the consumer of one message before there was the other.
    let left = world.depth(&world.queue).await;
    assert!((4..=5).contains(&left), "{left} left");
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 10.0).await;
    let batches = worker.metric("batch_messages_count");
    assert!(batches < 10.0, "what has arrived is one batch: {batches}");
    worker.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

/// `FAULTS_KILLS` sets how often.
#[tokio::test]
async fn worker_killed_a_hundred_times_at_random_loses_nothing() {
    let kills = std::env::var("FAULTS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100_usize);
    let world = World::new().await;
    world.worker().await.stop().await;
    let mut rows = set([world.insert(&Snapshot::of(world.team().await).kind("qna")).await]);
    let mut random = Random::new();
    for _ in 0..kills {
        world.publish_raw(&world.ending_events(10).await).await;
        let worker = world.start_worker(&[]).await;
        // Anywhere between connecting and being done.
        tokio::time::sleep(std::time::Duration::from_millis(random.below(250))).await;
        worker.kill();
    }
    let worker = world.worker().await;
    eventually("the queues to be worked off", async || world.waiting().await == 0).await;
    worker.stop().await;
    assert_eq!(world.waiting().await, 0);
    // A message that was unacknowledged twenty times when its worker was killed is the broker's dead letter, and its row stays.
    let dead_letters = world.run(&["dlq", "list", "--limit", "100000"]).await.json();
    for dead_letter in dead_letters.as_array().unwrap() {
        assert_eq!(dead_letter["reason"], "delivery_limit", "seed {}", random.seed);
        let event = dead_letter["event_id"].as_str().unwrap();
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM public.snapshots WHERE event_id = $1::uuid")
            .bind(event)
            .fetch_all(&world.pool)
            .await
            .unwrap();
        rows.extend(ids);
    }
    assert_eq!(world.snapshots().await, rows, "seed {}", random.seed);
    let dead = dead_letters.as_array().unwrap().len();
    assert!(dead * 10 <= kills, "{dead} of {} messages are dead letters, seed {}", kills * 10, random.seed);
}

#[tokio::test]
async fn worker_that_stood_still_takes_up_its_work_beside_the_one_that_took_over() {
    let world = World::new().await;
    let expired = 400;
    let team = world.team().await;
    for _ in 0..expired {
        world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    }
    let survivor = world.insert(&Snapshot::of(team)).await;
    world.make_each_delete_take("0.02").await;
    let variables = [("LIFECYCLE_SWEEP_INTERVAL", "500ms")];
    let first = world.worker_with(&variables).await;
    world.a_delete_is_under_way().await;
    first.signal("STOP");
    let second = world.worker_with(&variables).await;
    second.reaches("pass_seconds_count{rule=\"ttl\"}", 1.0).await;
    eventually("the sweep to be done by the second", async || world.count("expires_at <= now()").await == 0).await;
    first.signal("CONT");
    first.becomes_ready(true).await;
    let after = world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    eventually("the next sweep", async || !world.snapshots().await.contains(&after)).await;
    assert_eq!(world.snapshots().await, set([survivor]));
    let deleted =
        first.metric("snapshots_deleted_total{rule=\"ttl\"}") + second.metric("snapshots_deleted_total{rule=\"ttl\"}");
    assert!(deleted >= f64::from(expired), "{deleted}");
    first.stop().await;
    second.stop().await;
}
