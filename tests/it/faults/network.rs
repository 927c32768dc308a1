//! The network to either server is cut, stalls or is slow, under load: noticed in seconds, nothing lost, and nobody has to do anything.

use time::OffsetDateTime;

use crate::support::{Network, Proxy, Snapshot, World, body, eventually, host_of, set};

const EVENTS: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Database,
    Broker,
}

/// Messages come in all the while; the network breaks in the middle and works again later.
async fn broken_in_the_middle(side: Side, network: Network) {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let team = world.team().await;
    let server = if side == Side::Database { &world.database_url } else { &world.servers.amqp_url };
    let proxy = Proxy::before(host_of(server)).await;
    let url = proxy.url(server);
    let variable = if side == Side::Database { "DATABASE_URL" } else { "AMQP_URL" };
    let worker = world.worker_with(&[(variable, &url), ("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    for n in 0..EVENTS {
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        world.publish_raw(&[body(event, "confirmed", OffsetDateTime::now_utc())]).await;
        if n % 10 == 0 {
            world.publish_raw(&[format!("not json {n}").into_bytes()]).await;
        }
        if n == EVENTS / 3 {
            proxy.set(network);
        }
        if n == 2 * EVENTS / 3 && network != Network::Slow {
            // TCP alone would take a quarter of an hour.
            worker.becomes_ready(false).await;
            assert_eq!(worker.get("/livez").0, 200);
            proxy.set(Network::Open);
        }
    }
    worker.becomes_ready(true).await;
    eventually("every event to be ended", async || world.snapshots().await == set([survivor])).await;
    eventually("all dead letters", async || world.dead_letters().await >= 12).await;
    proxy.set(Network::Open);
    worker.stop().await;
    // A dead letter whose confirm was lost may exist twice; there are no others.
    let dead_letters = world.take_dead_bodies().await;
    let expected = (0..EVENTS).filter(|n| n % 10 == 0).map(|n| format!("not json {n}").into_bytes()).collect();
    assert_eq!(dead_letters, expected, "{side:?} {network:?}");
    assert_eq!(world.depth(&world.queue).await, 0);
}

#[tokio::test]
async fn network_to_the_database_is_cut() {
    broken_in_the_middle(Side::Database, Network::Cut).await;
}

#[tokio::test]
async fn network_to_the_database_stalls() {
    broken_in_the_middle(Side::Database, Network::Stalled).await;
}

#[tokio::test]
async fn network_to_the_database_is_slow() {
    broken_in_the_middle(Side::Database, Network::Slow).await;
}

#[tokio::test]
async fn network_to_the_broker_is_cut() {
    broken_in_the_middle(Side::Broker, Network::Cut).await;
}

#[tokio::test]
async fn network_to_the_broker_stalls() {
    broken_in_the_middle(Side::Broker, Network::Stalled).await;
}

#[tokio::test]
async fn network_to_the_broker_is_slow() {
    broken_in_the_middle(Side::Broker, Network::Slow).await;
}
