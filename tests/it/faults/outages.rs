//! Servers that go away and come back, and a worker that is killed: nothing lost, nothing dead-lettered, nobody's hand needed.

use time::OffsetDateTime;

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, Topology};
use snapshot_lifecycle::config::TopologyMode;
use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::pipeline::{Pipeline, PipelineOptions};
use snapshot_lifecycle::telemetry::{Health, Metrics};
use sqlx::Connection;

use crate::support::{Proxy, Servers, Snapshot, Way, Worker, World, eventually, host_of, pause, set};

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
async fn killed_worker_leaves_its_messages_to_the_next() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let booked = world.ending_events(200).await;
    // Each delete takes a while, so that the kill comes in the middle.
    world.make_each_delete_take("0.002").await;
    let worker = world.worker_with(&[("LIFECYCLE_PREFETCH", "50")]).await;
    world.publish_raw(&booked).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.kill();
    let next = world.worker().await;
    eventually("all rows of ended events to be gone", async || world.snapshots().await == set([survivor])).await;
    next.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

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

/// A single message shows nothing about whose fault it is: it waits, without an attempt counted, and others pass.
#[tokio::test]
async fn outage_that_shows_in_nothing_but_the_delete_itself_costs_no_attempt() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    world
        .sql(
            "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.full_disk()",
        )
        .await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.publish_raw(&world.ending_events(1).await).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 2.0).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 2));
    world.sql("DROP TRIGGER full_disk ON public.snapshots").await;
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
    world
        .sql(
            "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.full_disk()",
        )
        .await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    let seen = async || {
        let transactions: i64 = sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        (worker.metric("messages_total{outcome=\"retried\"}"), transactions)
    };
    let before = seen().await;
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    let after = seen().await;
    let (retried, transactions) = (after.0 - before.0, after.1 - before.1);
    assert!(retried < 1_000.0, "{retried} messages went through the wait queue in 20 s");
    assert!(transactions < 10_000, "{transactions} transactions in 20 s");
    assert_eq!((worker.get("/readyz").0, world.dead_letters().await), (503, 0));
    assert_eq!(world.snapshots().await.len(), MESSAGES as usize + 1);
    world.sql("DROP TRIGGER full_disk ON public.snapshots").await;
    worker.reaches("messages_total{outcome=\"applied\"}", f64::from(MESSAGES)).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await, world.dead_letters().await), (set([survivor]), 0, 0));
}

/// Backends of the workers, whatever they do.
async fn backends(world: &World) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'snapshot-lifecycle'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

/// How often a worker got no answer.
fn in_vain(worker: &Worker) -> usize {
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
    let standby = async |names: &str| {
        world.sql(format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await;
        world.sql("SELECT pg_reload_conf()").await;
        eventually("the server to know", async || {
            sqlx::query_scalar::<_, String>("SHOW synchronous_standby_names").fetch_one(&world.pool).await.unwrap()
                == names
        })
        .await;
    };
    standby("gone").await;
    world.publish_raw(&booked).await;
    let mut most = (0, 0);
    for round in 1..=4 {
        eventually(&format!("the workers to have waited in vain, round {round}"), async || {
            most.0 = most.0.max(backends(&world).await);
            most.1 = most.1.max(workers.iter().map(Worker::sockets).max().unwrap());
            workers.iter().map(in_vain).sum::<usize>() >= 3 * round
        })
        .await;
    }
    let last = workers.pop().unwrap();
    last.stop().await; // while the outage lasts
    standby("").await; // before anything else can fail, because the next test has the same server
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
    eventually("no backend to stay", async || backends(&world).await == 0).await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn way_that_stalls_costs_a_bounded_number_of_sockets() {
    let world = World::new().await;
    let survivor = world.insert(&Snapshot::of(world.team().await)).await;
    let proxy = Proxy::before(host_of(&world.database_url)).await;
    let url = proxy.url(&world.database_url);
    let variables =
        [("DATABASE_URL", url.as_str()), ("LIFECYCLE_SWEEP_INTERVAL", "1s"), ("LIFECYCLE_EVICT_INTERVAL", "1s")];
    let worker = world.worker_with(&variables).await;
    let before = worker.sockets();
    let booked = world.ending_events(10).await;
    proxy.set(Way::Stalled);
    world.publish_raw(&booked).await;
    let mut most = 0;
    for round in 1..=6 {
        eventually(&format!("the worker to have waited in vain, round {round}"), async || {
            most = most.max(worker.sockets());
            in_vain(&worker) >= 3 * round
        })
        .await;
    }
    assert!(most <= before + A_WORKERS_CONNECTIONS, "{most} sockets, {before} before");
    proxy.set(Way::Open);
    worker.becomes_ready(true).await;
    eventually("every event to be ended", async || world.snapshots().await == set([survivor])).await;
    worker.stop().await;
    eventually("no backend to stay", async || backends(&world).await == 0).await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
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
    let options = PipelineOptions {
        address: BrokerAddress::parse(Some(&SecretString::from(world.servers.amqp_url.clone()))).unwrap(),
        topology: Topology::new(world.exchange.clone(), world.queue.clone(), TopologyMode::Declare),
        prefetch: 10,
        max_message_bytes: 1000,
        max_attempts: 1,
        hold_at_most: std::time::Duration::from_millis(200),
    };
    let health = Health::new(Metrics::new());
    let pipeline =
        tokio::spawn(Pipeline::new(options, world.database(), health.clone(), Metrics::new()).run(stop.clone()));
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
    let got = channel
        .basic_get(world.queue.as_str().into(), Default::default())
        .await
        .unwrap()
        .expect("the message is there");
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
