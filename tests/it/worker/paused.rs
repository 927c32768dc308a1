//! An operator pauses consuming: messages wait in the queue, the worker stays alive and ready.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::support::{Worker, World, eventually};

async fn consumers(world: &World) -> u32 {
    let (connection, channel) = world.channel().await;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(world.queue.as_str().into(), options, FieldTable::default()).await.unwrap();
    connection.close(200, "done".into()).await.ok();
    queue.consumer_count()
}

async fn nobody_consumes(world: &World) {
    eventually("no consumer", async || consumers(world).await == 0).await;
}

async fn command(world: &World, arguments: &[&str]) {
    let done = world.run(arguments).await;
    assert_eq!(done.code, 0, "{done:?}");
}

fn applied(workers: &[&Worker]) -> f64 {
    workers.iter().map(|worker| worker.metric("messages_total{outcome=\"applied\"}")).sum()
}

async fn all_applied(world: &World, workers: &[&Worker], messages: f64) {
    eventually("every message to be applied", async || {
        applied(workers) >= messages && world.waiting().await == 0 && world.snapshots().await.is_empty()
    })
    .await;
    for worker in workers {
        for outcome in ["retried", "dead_lettered"] {
            assert!(worker.metric(&format!("messages_total{{outcome=\"{outcome}\"}}")) < 1.0, "{outcome}");
        }
    }
}

#[tokio::test]
async fn paused_fleet_takes_no_message_and_goes_on_after_resume() {
    let world = World::new().await;
    let (one, two) = (world.worker().await, world.worker().await);
    command(&world, &["pause", "consume"]).await;
    nobody_consumes(&world).await;
    let bodies = world.ending_events(3).await;
    world.publish_raw(&bodies).await;
    for worker in [&one, &two] {
        worker.reaches("paused{what=\"consume\"}", 1.0).await;
        assert_eq!((worker.get("/livez").0, worker.get("/readyz").0), (200, 200), "it is no outage");
        assert!(worker.metric("paused{what=\"sweep\"}") < 1.0);
        let line = &worker.logged("paused by an operator")[0];
        assert!(line["pause"].as_str().unwrap().contains("until it is resumed, by "), "{line}");
    }
    assert_eq!((world.depth(&world.queue).await, world.snapshots().await.len()), (3, 3));

    command(&world, &["resume"]).await;
    all_applied(&world, &[&one, &two], 3.0).await;
    for worker in [one, two] {
        eventually("the end of the pause in the log", async || worker.logged("no longer paused").len() == 1).await;
        assert_eq!(worker.logged("paused by an operator").len(), 1, "{}", worker.log_text());
        assert!(worker.metric("paused{what=\"consume\"}") < 1.0);
        worker.becomes_ready(true).await;
        worker.stop().await;
    }
}

#[tokio::test]
async fn messages_in_flight_go_back_to_the_queue_and_nothing_is_deleted_once_the_command_has_ended() {
    let world = World::new().await;
    let bodies = world.ending_events(12).await;
    world.make_each_delete_take("0.1").await;
    let (one, two) = (world.worker().await, world.worker().await);
    world.publish_raw(&bodies).await;
    world.a_delete_is_under_way().await;
    command(&world, &["pause", "all"]).await;
    let left = world.snapshots().await;
    nobody_consumes(&world).await;
    eventually("what is not deleted to be in the queue", async || {
        let waiting = usize::try_from(world.depth(&world.queue).await).unwrap();
        waiting >= left.len()
    })
    .await;
    assert_eq!(world.snapshots().await, left);
    command(&world, &["resume", "all"]).await;
    eventually("every message to be applied", async || {
        world.waiting().await == 0 && world.snapshots().await.is_empty()
    })
    .await;
    for worker in [one, two] {
        assert!(worker.metric("messages_total{outcome=\"retried\"}") < 1.0);
        assert!(worker.metric("messages_total{outcome=\"dead_lettered\"}") < 1.0);
        worker.stop().await;
    }
}

#[tokio::test]
async fn event_that_is_ended_in_steps_stops_too_and_goes_on_where_it_was() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    for _ in 0..20 {
        world.insert(&crate::support::Snapshot::of(team).event(event)).await;
    }
    world.make_each_delete_take("0.3").await;
    let worker = world.worker().await;
    world.confirm_event(event, time::OffsetDateTime::now_utc()).await;
    eventually("some of the event's rows to go", async || world.snapshots().await.len() < 20).await;
    command(&world, &["pause", "consume"]).await;
    let left = world.snapshots().await;
    assert!(!left.is_empty());
    nobody_consumes(&world).await;
    assert_eq!((world.snapshots().await, world.depth(&world.queue).await), (left, 1));
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    command(&world, &["resume"]).await;
    all_applied(&world, &[&worker], 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn killed_and_new_workers_of_a_paused_fleet_take_nothing_and_are_ready() {
    let world = World::new().await;
    let worker = world.worker().await;
    command(&world, &["pause", "consume", "--for", "1h"]).await;
    nobody_consumes(&world).await;
    worker.kill();
    world.publish_raw(&world.ending_events(2).await).await;
    let worker = world.worker().await;
    assert_eq!((world.depth(&world.queue).await, worker.logged("consuming").len()), (2, 0), "{}", worker.log_text());
    // It ends on its own, by the database's clock.
    world.sql("UPDATE snapshot_lifecycle.pause SET until = now() - interval '1 second'").await;
    all_applied(&world, &[&worker], 2.0).await;
    worker.stop().await;
}
