//! PostgreSQL answers but takes no delete: an outage, which costs no attempt.

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::pipeline::Pipeline;
use snapshot_lifecycle::telemetry::{Health, Metrics, Traces};
use sqlx::Connection;

use crate::support::{Servers, Snapshot, World, eventually, pause, set};

/// A single message shows nothing about whose fault it is: it waits, without an attempt counted, and others pass.
#[tokio::test]
async fn outage_that_shows_in_nothing_but_the_delete_itself_costs_no_attempt() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    world.fill_disk().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.publish_raw(&world.ending_events(1).await).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 2.0).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 2));
    world.free_disk().await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await, world.dead_letters().await), (set([survivor]), 0, 0));
}

/// Messages must not go round and round through the wait queues, nor the database be asked for each of them again and again.
#[tokio::test]
async fn full_disk_with_many_messages_waiting_is_an_outage_that_costs_little() {
    const MESSAGES: u32 = 2_000;
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    // The eviction would step over each row above the cap, which is another matter.
    let variables = [("LIFECYCLE_MAX_ATTEMPTS", "1"), ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "10000")];
    let worker = world.worker_with(&variables).await;
    let bodies = world.ending_events(MESSAGES as usize).await;
    world.fill_disk().await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    let seen = async || (worker.metric("messages_total{outcome=\"retried\"}"), world.transactions().await);
    let before = seen().await;
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    let after = seen().await;
    let (retried, transactions) = (after.0 - before.0, after.1 - before.1);
    assert!(retried < 1_000.0, "{retried} messages went through the wait queue in 20 s");
    assert!(transactions < 10_000, "{transactions} transactions in 20 s");
    assert_eq!((worker.get("/readyz").0, world.dead_letters().await), (503, 0));
    assert_eq!(world.snapshots().await.len(), MESSAGES as usize + 1);
    world.free_disk().await;
    worker.reaches("messages_total{outcome=\"applied\"}", f64::from(MESSAGES)).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await, world.dead_letters().await), (set([survivor]), 0, 0));
}

#[tokio::test]
async fn database_that_only_reads_for_a_while_is_an_outage() {
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    world
        .sql(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
        )
        .await;
    world.terminate_backends().await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 5));
    world
        .sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$")
        .await;
    // Its sessions began while the database only read, and would stay so.
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.becomes_ready(true).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 0));
    worker.stop().await;
}

#[tokio::test]
async fn database_whose_disk_is_full_is_an_outage() {
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    world.fill_disk().await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 5));
    world.free_disk().await;
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len(), world.depth(&world.queue).await), (0, 0, 0));
}

#[tokio::test]
async fn commit_that_waits_for_a_standby_that_is_gone_is_an_outage() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    world.wait_for_standbys("gone").await;
    world.publish_raw(&bodies).await;
    eventually("the worker to hold messages", async || {
        worker.logged("database does not take deletes; holding messages").len() > 1
    })
    .await;
    worker.becomes_ready(false).await;
    assert_eq!(world.dead_letters().await, 0);
    world.wait_for_standbys("").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len(), world.depth(&world.queue).await), (0, 0, 0));
}

#[tokio::test]
async fn retention_policy_that_cannot_be_read_is_an_outage() {
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE snapshot_lifecycle.retention IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    world.publish_raw(&bodies).await;
    eventually("the worker to hold messages", async || {
        worker.logged("database does not take deletes; holding messages").len() > 1
    })
    .await;
    assert_eq!(world.dead_letters().await, 0);
    lock.rollback().await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 0));
}

#[tokio::test]
async fn outage_longer_than_the_hold_costs_a_message_one_delivery_and_no_more() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(1).await;
    world.worker().await.stop().await; // declares the queue
    // Answers every question, takes no delete.
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    let stop = Stop::default();
    let options = world.pipeline_options(std::time::Duration::from_millis(200));
    let health = Health::new(Metrics::new());
    let pipeline = tokio::spawn(
        Pipeline::new(options, world.database(), health.clone(), Metrics::new(), Traces::default()).run(stop.clone()),
    );
    eventually("the pipeline to consume", async || health.is_ready()).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut host).await.unwrap();
    world.publish_raw(&booked).await;
    eventually("the message to be back in the queue", async || world.depth(&world.queue).await == 1).await;
    for _ in 0..80 {
        pause().await;
        assert_eq!(world.depth(&world.queue).await, 1, "nobody takes it while the outage lasts");
    }
    assert!(!health.is_ready());
    // So we can; 3.10 counts from 0, later ones leave out a 0.
    let (connection, channel) = world.channel().await;
    let got =
        channel.basic_get(world.queue.as_str().into(), Default::default()).await.unwrap().expect("the message exists");
    let headers = got.delivery.properties.headers().clone().unwrap_or_default();
    assert_eq!(headers.inner().get("x-delivery-count"), Some(&lapin::types::AMQPValue::LongLongInt(1)));
    got.delivery.acker.nack(lapin::options::BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
    connection.close(200, "done".into()).await.ok();
    assert!(!pipeline.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut host).await.unwrap();
    eventually("the row of the ended event to be gone", async || world.snapshots().await == set([survivor])).await;
    stop.soft.cancel();
    pipeline.await.unwrap();
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}
