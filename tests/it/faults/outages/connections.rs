//! Connections that end or get no answer: a bounded number of them, and nothing is lost.

use std::collections::BTreeSet;

use crate::support::{Network, Proxy, Servers, Snapshot, Worker, World, eventually, host_of, pause, set};

/// How often a worker got no answer.
fn timeouts(worker: &Worker) -> usize {
    worker.log_text().matches("no answer").count()
}

/// A pool of five, a listener, and a few that are being looked after.
const A_WORKERS_CONNECTIONS: usize = 5 + 1 + 4;

#[tokio::test]
async fn commits_that_nobody_answers_cost_a_bounded_number_of_connections() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let variables = [("LIFECYCLE_SWEEP_INTERVAL", "1s"), ("LIFECYCLE_EVICT_INTERVAL", "1s")];
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(world.worker_with(&variables).await);
    }
    let booked = world.ending_events(30).await;
    world.wait_for_standbys("gone").await;
    world.publish_raw(&booked).await;
    let mut most = (0, 0);
    for round in 1..=4 {
        eventually(&format!("the workers to have run into its timeout, round {round}"), async || {
            most.0 = most.0.max(world.program_sessions().await);
            most.1 = most.1.max(workers.iter().map(Worker::sockets).max().unwrap());
            workers.iter().map(timeouts).sum::<usize>() >= 3 * round
        })
        .await;
    }
    let last = workers.pop().unwrap();
    last.stop().await; // while the outage lasts
    world.wait_for_standbys("").await; // before anything else can fail, because the next test has the same server
    let bound = 3 * A_WORKERS_CONNECTIONS;
    assert!(most.0 <= i64::try_from(bound).unwrap(), "{} backends of 3 workers", most.0);
    assert!(most.1 <= 40, "{} sockets of a worker", most.1);
    eventually("every event to be ended", async || world.snapshots().await == set([survivor])).await;
    for worker in &workers {
        worker.becomes_ready(true).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    eventually("no backend to stay", async || world.program_sessions().await == 0).await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn network_that_stalls_costs_a_bounded_number_of_sockets() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let proxy = Proxy::before(host_of(&world.database_url)).await;
    let url = proxy.url(&world.database_url);
    let variables =
        [("DATABASE_URL", url.as_str()), ("LIFECYCLE_SWEEP_INTERVAL", "1s"), ("LIFECYCLE_EVICT_INTERVAL", "1s")];
    let worker = world.worker_with(&variables).await;
    let before = worker.sockets();
    let booked = world.ending_events(10).await;
    proxy.set(Network::Stalled);
    world.publish_raw(&booked).await;
    let mut most = 0;
    for round in 1..=6 {
        eventually(&format!("the worker to have run into its timeout, round {round}"), async || {
            most = most.max(worker.sockets());
            timeouts(&worker) >= 3 * round
        })
        .await;
    }
    assert!(most <= before + A_WORKERS_CONNECTIONS, "{most} sockets, {before} before");
    proxy.set(Network::Open);
    worker.becomes_ready(true).await;
    eventually("every event to be ended", async || world.snapshots().await == set([survivor])).await;
    worker.stop().await;
    eventually("no backend to stay", async || world.program_sessions().await == 0).await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn backends_that_are_terminated_again_and_again_cost_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let bodies = world.ending_events(300).await;
    for chunk in bodies.chunks(30) {
        world.publish_raw(chunk).await;
        world.terminate_backends().await;
        pause().await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 300.0).await;
    worker.stop().await;
    assert_eq!(world.snapshots().await, BTreeSet::new());
    assert_eq!((world.dead_letters().await, world.depth(&world.queue).await), (0, 0));
}
