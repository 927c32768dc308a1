//! RabbitMQ answers but gives less: queues deleted, alarms, a channel closed.

use std::collections::BTreeSet;

use crate::support::{Servers, Snapshot, World, eventually, set};

#[tokio::test]
async fn queue_that_is_deleted_under_the_worker_is_made_again() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(3).await;
    let worker = world.worker().await;
    let (connection, channel) = world.channel().await;
    channel.queue_delete(world.queue.as_str().into(), Default::default()).await.unwrap();
    eventually("the worker to notice", async || !worker.logged("subscription ended; reconnecting").is_empty()).await;
    eventually("the worker to consume again", async || worker.logged("consuming").len() == 2).await;
    world.publish_raw(&booked).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 3.0).await;
    assert_eq!(world.snapshots().await, set([survivor]));
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn cancel_that_comes_behind_waiting_deliveries_is_noticed() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(6).await;
    world.make_each_delete_take("1").await;
    let worker = world.worker().await;
    world.publish_raw(&booked[..1]).await;
    world.a_delete_is_under_way().await;
    world.publish_raw(&booked[1..]).await;
    let (connection, channel) = world.channel().await;
    channel.queue_delete(world.queue.as_str().into(), Default::default()).await.unwrap();
    eventually("the worker to consume again", async || worker.logged("consuming").len() == 2).await;
    world.publish_raw(&booked).await;
    eventually("all rows of ended events to be gone", async || world.snapshots().await == set([survivor])).await;
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn broker_short_of_memory_blocks_dead_letters_and_loses_none() {
    alarm(["set_vm_memory_high_watermark", "0.000001"], ["set_vm_memory_high_watermark", "0.4"]).await;
}

#[tokio::test]
async fn broker_short_of_disk_blocks_dead_letters_and_loses_none() {
    alarm(["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "1MB"]).await;
}

/// `raise` and `lower` are words of rabbitmqctl.
async fn alarm(raise: [&str; 2], lower: [&str; 2]) {
    let servers = Servers::private();
    let ctl = |words: [&str; 2]| servers.control(&[&["rabbitmq", "ctl"], &words[..]].concat());
    let world = World::on(servers.pair()).await;
    let worker = world.worker().await;
    let bodies = world.ending_events(20).await;
    let mut all = bodies.clone();
    all.extend((0..20).map(|n| format!("not json {n}").into_bytes()));
    // Publishers are blocked as soon as they publish; the messages have to be published before.
    worker.signal("STOP");
    world.publish_raw(&all).await;
    ctl(raise);
    worker.signal("CONT");
    // Consuming and acknowledging go on beside the blocked publisher.
    worker.reaches("messages_total{outcome=\"applied\"}", 20.0).await;
    assert!(worker.metric("messages_total{outcome=\"dead_lettered\"}") < 1.0, "dead letters cannot be placed yet");
    ctl(lower);
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 20.0).await;
    worker.stop().await;
    let bodies: BTreeSet<_> = world.take_dead_bodies().await;
    assert_eq!(bodies.len(), 20);
    assert_eq!((world.snapshots().await.len(), world.depth(&world.queue).await), (0, 0));
}

#[tokio::test]
async fn channel_that_the_broker_closes_over_a_message_held_for_long_costs_nothing() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let set_timeouts = |consumer: u32, tick: u32| {
        let set = format!(
            "application:set_env(rabbit, consumer_timeout, {consumer}), application:set_env(rabbit, channel_tick_interval, {tick})."
        );
        servers.control(&["rabbitmq", "ctl", "eval", &set]);
    };
    set_timeouts(3_000, 500);
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    world.publish_raw(&bodies).await;
    // Held for up to a minute; the broker's timeout is shorter, and it requeues them.
    eventually("messages to be taken", async || world.depth(&world.queue).await < 5).await;
    eventually("the channel to be closed", async || world.depth(&world.queue).await == 5).await;
    eventually("the broker to say that it was", async || servers.log_of("rabbitmq").contains("has timed out waiting"))
        .await;
    lock.rollback().await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    set_timeouts(1_800_000, 60_000);
    worker.stop().await;
    assert_eq!((world.snapshots().await.len(), world.dead_letters().await, world.depth(&world.queue).await), (0, 0, 0));
}
