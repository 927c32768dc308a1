//! A cluster of three: the node that leads the queues is killed under load.

use snapshot_lifecycle::{StatusMessage, StatusPublisher};

use crate::support::{Servers, Snapshot, World, eventually, set};

const EVENTS: usize = 600;

#[tokio::test]
async fn leader_that_is_killed_under_load_costs_nothing() {
    let servers = Servers::own(|_| (Vec::new(), Vec::new()));
    let (second, _third) = (servers.join("second"), servers.join("third"));
    let world = World::on(servers.clone()).await;
    // Declared by way of the first node, which so leads the queues.
    world.worker().await.stop().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let bodies = world.ending_events(EVENTS).await;
    let messages: Vec<_> = bodies.iter().map(|body| StatusMessage::from_json(body).unwrap()).collect();

    let worker = world.worker_with(&[("AMQP_URL", &second), ("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let publisher = StatusPublisher::new(&second, world.exchange.clone()).unwrap();
    let publishing = tokio::spawn(async move {
        let mut failed = Vec::new();
        for message in messages {
            failed.extend(publisher.publish(&message).await.err());
        }
        publisher.close().await;
        failed
    });
    worker.reaches("messages_total{outcome=\"applied\"}", 100.0).await;
    servers.control(&["rabbitmq", "kill"]);
    let failed = publishing.await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    eventually("every event to be ended", async || world.snapshots().await == set([survivor])).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    servers.control(&["rabbitmq", "start"]);
    eventually("the queues to be whole again", async || world.depth(&world.queue).await == 0).await;
    assert_eq!(world.dead_letters().await, 0);
}
