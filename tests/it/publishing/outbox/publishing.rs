//! Records are published at least once, through crashes and outages of the broker, and what nobody takes waits.

use serde_json::Value;
use uuid::Uuid;

use crate::support::{Servers, Snapshot, World, eventually, finish, set};

#[tokio::test]
async fn worker_killed_half_way_loses_nothing() {
    let world = World::new().await;
    world.install_outbox().await;
    let team = world.team().await;
    world
        .sql(format!(
            r"
                INSERT INTO public.events SELECT gen_random_uuid(), NULL, NULL FROM generate_series(1, 3000);
                INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data, created_at)
                SELECT '{team}', 'offer', id, '{{}}', now() - interval '1 hour' FROM public.events;
                UPDATE public.events SET status = 'confirmed'"
        ))
        .await;
    let survivor = world.insert(&Snapshot::of(team)).await;
    assert_eq!(world.outbox_records().await, 3_000);
    for _ in 0..3 {
        let before = world.outbox_records().await;
        let mut worker = world.worker().await;
        eventually("some to be published", async || world.outbox_records().await < before || before == 0).await;
        worker.signal("KILL");
        worker.ended().await;
    }
    let worker = world.worker().await;
    eventually("everything to be applied", async || {
        world.outbox_records().await == 0 && world.snapshots().await == set([survivor])
    })
    .await;
    worker.stop().await;
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn records_wait_for_a_broker_that_is_away() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.install_outbox().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    servers.control(&["rabbitmq", "kill"]);
    world.set_status(event, "confirmed").await;
    eventually("the worker to say so", async || {
        !worker.logged("outbox is not published; its records wait, trying again").is_empty()
    })
    .await;
    let status = world.run(&["outbox", "status"]).await;
    assert_eq!((status.code, status.json()["pending"].as_i64()), (0, Some(1)), "{status:?}");
    worker.reaches("outbox_pending", 1.0).await;
    worker.reaches("outbox_oldest_seconds", 1.0).await;
    servers.control(&["rabbitmq", "start"]);
    eventually("the snapshot to be gone", async || world.snapshots().await.is_empty()).await;
    eventually("the record to be gone", async || world.outbox_records().await == 0).await;
    assert_eq!(worker.logged("outbox is published again").len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn worker_listens_where_the_connection_allows_it() {
    let world = World::new().await;
    world.install_outbox().await;
    let worker = world.worker().await;
    eventually("a session that listens", async || {
        let listening: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'listen%snapshot_lifecycle_outbox%'",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        listening == 1
    })
    .await;
    // Of transactions side by side one notifies, and of one alone that one.
    let mut listener = sqlx::postgres::PgListener::connect_with(&world.pool).await.unwrap();
    listener.listen("snapshot_lifecycle_outbox").await.unwrap();
    world.set_status(world.event().await, "lead").await;
    assert_eq!(listener.recv().await.unwrap().channel(), "snapshot_lifecycle_outbox");
    worker.stop().await;
}

#[tokio::test]
async fn unroutable_record_stays_until_it_is_routable() {
    let world = World::new().await;
    world.install_outbox().await;
    let event = world.event().await;
    let worker = world.worker().await;
    world.unbind_queue().await;
    world.set_status(event, "confirmed").await;
    eventually("a failed try", async || worker.metric("outbox_messages_total{outcome=\"failed\"}") >= 1.0).await;
    assert_eq!(world.outbox_records().await, 1);
    world.bind_queue("event.status.#").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    eventually("the record to be gone", async || world.outbox_records().await == 0).await;
    let again = "outbox is published again";
    eventually("the worker to say so", async || !worker.logged(again).is_empty()).await;
    let waits = worker.logged("outbox is not published; its records wait, trying again");
    assert_eq!((waits.len(), worker.logged(again).len()), (1, 1), "once each: {}", worker.log_text());
    worker.stop().await;
}

#[tokio::test]
async fn records_that_nobody_takes_hold_up_no_other_event() {
    let world = World::new().await;
    world.install_outbox().await;
    world.run(&["outbox", "install", "--on-insert"]).await;
    // Many times more than are read at once.
    let unroutable = 12_000;
    let (connection, channel) = world.channel().await;
    let topic = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    let (exchange, none) = (world.exchange.as_str(), lapin::types::FieldTable::default);
    channel.exchange_declare(exchange.into(), lapin::ExchangeKind::Topic, topic, none()).await.unwrap();
    let queue = world.own_queue(exchange, &["event.status.confirmed"]).await;
    // The worker's own queue takes nothing of the exchange.
    let worker = world.worker().await;
    world.unbind_queue().await;
    let stuck = Uuid::new_v4();
    world
        .sql(format!(
            r"
                INSERT INTO public.events (id, status) VALUES ('{stuck}', 'lead');
                INSERT INTO public.events (status) SELECT 'lead' FROM generate_series(1, {unroutable});
                INSERT INTO public.events (status) SELECT 'confirmed' FROM generate_series(1, 700);
                UPDATE public.events SET status = 'confirmed' WHERE id = '{stuck}'"
        ))
        .await;
    eventually("all that can be routed to be published", async || world.depth(&queue).await >= 700).await;
    assert!(
        world.outbox_records().await >= unroutable + 2,
        "what is stuck stays, and nothing of the same event overtakes it"
    );
    world.own_queue(exchange, &["event.status.lead"]).await;
    eventually("the rest to be published", async || world.outbox_records().await == 0).await;
    worker.stop().await;
    assert_eq!(i64::from(world.depth(&queue).await), unroutable + 702);
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn idle_workers_keep_one_lease_and_cost_the_database_little() {
    let world = World::new().await;
    world.install_outbox().await;
    let workers = (world.worker().await, world.worker().await);
    let (_, given) = world.outbox_lease_after(None).await;
    let (holder, renewed) = world.outbox_lease_after(Some(given)).await;
    let before = world.transactions().await;
    let (still, _) = world.outbox_lease_after(Some(renewed)).await;
    let spent = world.transactions().await - before;
    assert_eq!(still, holder, "it is renewed long before its end");
    // Those of the workers and the test's own, which asks for the lease all the while.
    assert!(spent < 300, "{spent} transactions from one renewal to the next");
    world.set_status(world.event().await, "lead").await;
    eventually("the change to be published", async || world.outbox_records().await == 0).await;
    workers.0.stop().await;
    workers.1.stop().await;
}

#[tokio::test]
async fn fleets_with_different_exchanges_publish_each_its_own_records() {
    let world = World::new().await;
    world.install_outbox().await;
    world.sql("CREATE TABLE public.meetings (id UUID PRIMARY KEY, status TEXT)").await;
    let other = format!("{}.meetings", world.exchange);
    let install = world.run(&["outbox", "install", "--table", "meetings", "--exchange", &other]).await.json();
    let exchanges: Vec<_> =
        install["installed"].as_array().unwrap().iter().map(|it| it["exchange"].as_str().unwrap()).collect();
    assert_eq!(exchanges, [&world.exchange, &other]);
    let worker = world.worker().await;
    // Each holds its lease already, before there is anything to take.
    let meetings_queue = format!("{}.meetings", world.queue);
    world.delete_fleet_at_end(&other, &meetings_queue);
    let of_meetings = world.worker_with(&[("LIFECYCLE_EXCHANGE", &other), ("LIFECYCLE_QUEUE", &meetings_queue)]).await;
    let leases = async || -> i64 {
        let holding = "SELECT count(*) FROM snapshot_lifecycle.lease WHERE name LIKE 'outbox %' AND expires_at > now()";
        sqlx::query_scalar(holding).fetch_one(&world.pool).await.unwrap()
    };
    eventually("both to relay", async || leases().await == 2).await;
    world.sql("INSERT INTO public.meetings SELECT gen_random_uuid() FROM generate_series(1, 30)").await;
    for _ in 0..20 {
        world.event().await;
    }
    world.sql("UPDATE public.events SET status = 'lead'; UPDATE public.meetings SET status = 'option'").await;
    eventually("all to be published", async || world.outbox_records().await == 0).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 20.0).await;
    of_meetings.reaches("messages_total{outcome=\"ignored\"}", 30.0).await;
    assert_eq!((worker.published(), of_meetings.published()), (20.0, 30.0));
    of_meetings.stop().await;

    // Without a name it is the exchange of whichever fleet there is.
    let mut command = world.program(&["outbox", "install", "--table", "meetings"]);
    command.env_remove("LIFECYCLE_EXCHANGE");
    let unnamed = finish(command);
    assert_eq!(unnamed.json()["installed"][1]["exchange"], Value::Null, "{unnamed:?}");
    world.sql("UPDATE public.meetings SET status = 'blocked'").await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 50.0).await;
    worker.stop().await;
}
