//! Errors that may be the database's or one event's own, while nothing passes that would show which.

use std::time::Duration;

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, Topology};
use snapshot_lifecycle::config::TopologyMode;
use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::pipeline::{Pipeline, PipelineOptions};
use snapshot_lifecycle::telemetry::{Health, Metrics};

use crate::support::{World, eventually};

/// A trigger that raises what a full disk does. A delete of nothing does not meet it, so it is no outage.
async fn make_every_delete_fail(world: &World) {
    world
        .sql(
            "CREATE FUNCTION public.doubt() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER doubt BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.doubt()",
        )
        .await;
}

async fn let_deletes_pass(world: &World) {
    world.sql("DROP FUNCTION public.doubt CASCADE").await;
}

#[tokio::test]
async fn after_ten_events_that_fail_alone_the_others_are_held() {
    let world = World::new().await;
    world.worker().await.stop().await; // declares the queue
    world.publish_raw(&world.ending_events(40).await).await;
    make_every_delete_fail(&world).await;
    let worker = world.start_worker(&[]).await;
    let why = "one event after the other fails and none succeeds; holding the others";
    eventually("the others to be held", async || !worker.logged(why).is_empty()).await;
    assert_eq!(worker.logged(why)[0]["events"], 10, "{}", worker.log_text());
    let_deletes_pass(&world).await;
    eventually("every event to be ended", async || world.snapshots().await.is_empty()).await;
    worker.stop().await;
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn events_that_are_held_for_too_long_wait_for_others_without_an_attempt() {
    let world = World::new().await;
    world.worker().await.stop().await;
    world.publish_raw(&world.ending_events(30).await).await;
    make_every_delete_fail(&world).await;
    let options = PipelineOptions {
        address: BrokerAddress::parse(Some(&SecretString::from(world.servers.amqp_url.clone()))).unwrap(),
        topology: Topology::new(world.exchange.clone(), world.queue.clone(), TopologyMode::Declare),
        prefetch: 100,
        max_message_bytes: 1000,
        max_attempts: 1,
        hold_at_most: Duration::ZERO,
    };
    let (stop, health) = (Stop::default(), Health::new(Metrics::new()));
    let pipeline = tokio::spawn(Pipeline::new(options, world.database(), health, Metrics::new()).run(stop.clone()));
    // Ten fail one by one; these are the others, which were not tried.
    let wait_queue = format!("{}.wait.10s", world.queue);
    eventually("more than ten to wait", async || world.depth(&wait_queue).await > 10).await;
    let_deletes_pass(&world).await;
    eventually("every event to be ended", async || world.snapshots().await.is_empty()).await;
    stop.soft.cancel();
    pipeline.await.unwrap();
    assert_eq!(world.dead_letters().await, 0);
}
