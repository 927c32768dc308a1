//! Errors that may be the database's or one event's own, while none passes that would show which.

use std::time::Duration;

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::pipeline::Pipeline;
use snapshot_lifecycle::telemetry::{Health, Metrics, Traces};

use crate::support::{World, eventually};

#[tokio::test]
async fn after_ten_events_that_fail_alone_the_others_are_held() {
    let world = World::with_queues().await;
    world.publish_raw(&world.ending_events(40).await).await;
    // A delete of nothing does not meet the trigger, so it shows no outage.
    world.fill_disk().await;
    let worker = world.start_worker(&[]).await;
    let why = "one event after the other fails and none succeeds; holding the others";
    eventually("the others to be held", async || !worker.logged(why).is_empty()).await;
    assert_eq!(worker.logged(why)[0]["events"], 10, "{}", worker.log_text());
    world.free_disk().await;
    eventually("every event to be ended", async || world.snapshots().await.is_empty()).await;
    worker.stop().await;
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn events_that_are_held_for_too_long_wait_for_others_without_an_attempt() {
    let world = World::with_queues().await;
    world.publish_raw(&world.ending_events(30).await).await;
    world.fill_disk().await;
    let options = world.pipeline_options(Duration::ZERO);
    let (stop, health) = (Stop::default(), Health::new(Metrics::new()));
    let pipeline = tokio::spawn(
        Pipeline::new(options, world.database(), health, Metrics::new(), Traces::default()).run(stop.clone()),
    );
    // Ten fail one by one; these are the others, which were not tried.
    let wait_queue = format!("{}.wait.10s", world.queue);
    eventually("more than ten to wait", async || world.depth(&wait_queue).await > 10).await;
    world.free_disk().await;
    eventually("every event to be ended", async || world.snapshots().await.is_empty()).await;
    stop.soft.cancel();
    pipeline.await.unwrap();
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn worker_is_not_ready_while_three_events_fail_and_none_passes() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fill_disk().await;
    world.publish_raw(&world.ending_events(3).await).await;
    worker.becomes_ready(false).await;
    world.free_disk().await;
    world.publish_raw(&world.ending_events(1).await).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
}
