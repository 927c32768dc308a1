//! A message is acknowledged only after its delete is committed or its dead letter placed, wherever the worker is killed.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Network, Proxy, Snapshot, World, body, eventually, host_of, set};

#[tokio::test]
async fn worker_killed_between_commit_and_acknowledgement_leaves_what_is_applied_twice_without_harm() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let (team, event) = (world.team().await, world.event().await);
    let ended = world.insert(&Snapshot::of(team).event(event)).await;
    world.make_each_delete_take("1").await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let worker = world.worker_with(&[("AMQP_URL", &proxy.url(&world.servers.amqp_url))]).await;
    world.publish_raw(&[body(event, "confirmed", OffsetDateTime::now_utc())]).await;
    world.a_delete_is_under_way().await;
    // The delete will be committed, and its acknowledgement get nowhere.
    proxy.set(Network::Stalled);
    eventually("the commit", async || !world.snapshots().await.contains(&ended)).await;
    let later = world.insert(&Snapshot::of(team).event(event).created_at(OffsetDateTime::now_utc())).await;
    worker.kill();
    drop(proxy);
    eventually("the broker to have the message again", async || world.depth(&world.queue).await == 1).await;
    let next = world.worker().await;
    next.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    next.stop().await;
    assert_eq!(world.snapshots().await, set([later]), "what was made after the status is not its business");
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

/// Starts a worker that takes more than one message at a time, and is busy: what is published meanwhile will be one batch. Its event is
/// the first of the bodies.
async fn busy_worker(world: &World, bodies: &[Vec<u8>]) -> crate::support::Worker {
    world.make_each_delete_take("1").await;
    let worker = world.worker().await;
    world.publish_raw(&[body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())]).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    world.publish_raw(&bodies[..1]).await;
    world.a_delete_is_under_way().await;
    worker
}

#[tokio::test]
async fn message_whose_dead_letter_is_not_placed_is_not_acknowledged_with_its_neighbour() {
    let world = World::new().await;
    let bodies = world.ending_events(2).await;
    let worker = busy_worker(&world, &bodies).await;
    let (connection, channel) = world.channel().await;
    let dead_letters = format!("{}.dead-letter", world.queue);
    channel.queue_delete(dead_letters.as_str().into(), Default::default()).await.unwrap();
    let bad = b"no json".to_vec();
    world.publish_raw(&[bad.clone(), bodies[1].clone()]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    worker.kill();
    connection.close(200, "done".into()).await.ok();
    let next = world.worker().await; // declares the queue again
    eventually("the message to be a dead letter", async || world.dead_letters().await >= 1).await;
    next.stop().await;
    // Twice where the first worker had declared the queue again, placed it, and was killed before it acknowledged.
    assert_eq!(world.take_dead_bodies().await, BTreeSet::from([bad]));
    assert_eq!((world.depth(&world.queue).await, world.snapshots().await.len()), (0, 0));
}

#[tokio::test]
async fn message_whose_delete_is_not_committed_is_not_acknowledged_with_its_neighbour() {
    let world = World::new().await;
    let bodies = world.ending_events(2).await;
    let worker = busy_worker(&world, &bodies).await;
    world.publish_raw(&[bodies[1].clone(), body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())]).await;
    // Waits behind the delete that is under way, and then holds up the next.
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut *lock).await.unwrap();
    worker.reaches("messages_total{outcome=\"ignored\"}", 2.0).await;
    worker.kill();
    lock.rollback().await.unwrap();
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    let next = world.worker().await;
    eventually("the event to be ended", async || world.snapshots().await.is_empty()).await;
    next.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}
