//! Servers that stop, are killed, stand still or refuse the password, and come back.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Servers, Snapshot, World, as_user, eventually, set};

#[tokio::test]
async fn database_that_stops_and_starts_holds_messages_and_loses_none() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let before = world.ending_events(20).await;
    let during = world.ending_events(20).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.publish_raw(&before).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 20.0).await;

    servers.control(&["postgres", "stop", "immediate"]);
    worker.becomes_ready(false).await;
    assert_eq!(worker.get("/livez").0, 200);
    world.publish_raw(&during).await;
    eventually("the worker to hold messages", async || {
        !worker.logged("database does not take deletes; holding messages").is_empty()
    })
    .await;
    assert_eq!(world.dead_letters().await, 0);

    servers.control(&["postgres", "start"]);
    worker.becomes_ready(true).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 40.0).await;
    assert_eq!(world.snapshots().await, set([survivor]));
    worker.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn broker_that_is_killed_and_started_again_is_found_again() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let before = world.ending_events(20).await;
    let after = world.ending_events(20).await;
    let worker = world.worker_with(&[("LIFECYCLE_SWEEP_INTERVAL", "300ms")]).await;
    world.publish_raw(&before).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 20.0).await;

    servers.control(&["rabbitmq", "kill"]);
    worker.becomes_ready(false).await;
    assert_eq!(worker.get("/livez").0, 200);
    // The passes do not need the broker.
    let team = world.team().await;
    world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 1.0).await;

    servers.control(&["rabbitmq", "start"]);
    worker.becomes_ready(true).await;
    world.publish_raw(&after).await;
    eventually("all rows of ended events to be gone", async || world.snapshots().await == set([survivor])).await;
    worker.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn worker_started_while_both_servers_are_away_waits_for_them() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(5).await;
    let first = world.worker().await;
    first.stop().await;
    world.publish_raw(&booked).await;
    servers.control(&["postgres", "stop"]);
    servers.control(&["rabbitmq", "stop"]);
    let worker = world.start_worker(&[]).await;
    assert_eq!((worker.get("/livez").0, worker.get("/readyz").0), (200, 503));
    servers.control(&["rabbitmq", "start"]);
    assert_eq!(worker.get("/readyz").0, 503);
    assert_eq!(world.depth(&world.queue).await, 5, "nothing is taken that could not be worked on");
    servers.control(&["postgres", "start"]);
    worker.becomes_ready(true).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    assert_eq!(world.snapshots().await, set([survivor]));
}

#[tokio::test]
async fn broker_is_up_while_only_the_database_is_away_at_the_start() {
    let world = World::new().await;
    world.worker().await.stop().await; // declares the queues
    let variables = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"), ("LIFECYCLE_ENV", "development")];
    let worker = world.start_worker(&variables).await;
    eventually("the broker to be seen", async || worker.get("/readyz").1.contains("\"rabbitmq\":\"up\"")).await;
    let (code, body) = worker.get("/readyz");
    assert!(code == 503 && body.contains("\"postgres\":\"down\""), "{body}");
    let up = |dependency| worker.metric(&format!("up{{dependency=\"{dependency}\"}}"));
    assert!(up("rabbitmq") > 0.9 && up("postgres") < 0.1);
    worker.stop().await;
}

#[tokio::test]
async fn database_that_stands_still_without_a_word_is_noticed_and_found_again() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(5).await;
    let worker = world.worker().await;
    let mut frozen: Vec<i32> =
        sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE application_name = 'snapshot-lifecycle'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    frozen.push(servers.control(&["postgres", "pid"]).parse().unwrap());
    let signal = |name: &str| {
        for pid in &frozen {
            std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        }
    };
    signal("-STOP");
    world.publish_raw(&booked).await;
    worker.becomes_ready(false).await;
    assert_eq!(worker.get("/livez").0, 200);
    signal("-CONT");
    worker.becomes_ready(true).await;
    eventually("all rows of ended events to be gone", async || world.snapshots().await == set([survivor])).await;
    worker.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn credentials_that_change_are_an_outage_until_they_are_right_again() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let user = format!("u{}", Uuid::new_v4().simple());
    let ctl = |words: &[&str]| servers.control(&[&["rabbitmq", "ctl"], words].concat());
    ctl(&["add_user", &user, "old"]);
    ctl(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"]);
    let worker = world.worker_with(&[("AMQP_URL", &as_user(&servers.pair().amqp_url, &user, "old"))]).await;
    ctl(&["change_password", &user, "new"]);
    ctl(&["close_all_user_connections", &user, "rotated"]);
    worker.becomes_ready(false).await;
    let bodies = world.ending_events(10).await;
    world.publish_raw(&bodies).await;
    ctl(&["change_password", &user, "old"]);
    worker.reaches("messages_total{outcome=\"applied\"}", 10.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await.len(), world.dead_letters().await), (0, 0));
    ctl(&["delete_user", &user]);
}
