//! The outbox: what the host commits is published, in order and at least once, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Running, Servers, Snapshot, Worker, World, as_user, eventually, finish, set};

/// The host's events with a status and a team, and the trigger on them.
async fn installed(world: &World) {
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN team_id UUID").await;
    let install = world.run(&["outbox", "install", "--table", "events", "--team-column", "team_id"]).await;
    assert_eq!(install.code, 0, "{install:?}");
}

async fn set_status(world: &World, event: Uuid, status: &str) {
    world.sql(format!("UPDATE public.events SET status = '{status}' WHERE id = '{event}'")).await;
}

async fn pending(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM snapshot_lifecycle.outbox").fetch_one(&world.pool).await.unwrap()
}

/// A second queue that gets a copy of every message.
async fn listen_in(world: &World) -> String {
    let queue = format!("{}.copy", world.queue);
    let (connection, channel) = world.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
    let bind = channel.queue_bind(
        queue.as_str().into(),
        world.exchange.as_str().into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    connection.close(200, "done".into()).await.ok();
    queue
}

/// The statuses of each event in the order of arrival, and the message ids.
async fn heard(world: &World, queue: &str) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let (connection, channel) = world.channel().await;
    let (mut statuses, mut ids) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        let body: Value = serde_json::from_slice(&got.delivery.data).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        statuses.entry(text("event_id")).or_default().push(text("status"));
        ids.push(text("message_id"));
    }
    connection.close(200, "done".into()).await.ok();
    (statuses, ids)
}

fn published(worker: &Worker) -> f64 {
    worker.metric("outbox_messages_total{outcome=\"published\"}")
}

#[tokio::test]
async fn committed_change_of_status_deletes_and_rolled_back_one_does_not() {
    let world = World::new().await;
    let (team, event, other) = (world.team().await, world.event().await, world.event().await);
    installed(&world).await;
    world.sql(format!("UPDATE public.events SET team_id = '{team}'")).await;
    world.insert(&Snapshot::of(team).event(event)).await;
    let survivor = world.insert(&Snapshot::of(team).event(other)).await;
    let worker = world.worker().await;
    let mut rolled_back = world.pool.begin().await.unwrap();
    sqlx::query("UPDATE public.events SET status = 'confirmed' WHERE id = $1")
        .bind(other)
        .execute(&mut *rolled_back)
        .await
        .unwrap();
    set_status(&world, event, " Confirmed ").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    rolled_back.rollback().await.unwrap();
    assert_eq!(world.snapshots().await, set([survivor]));
    set_status(&world, other, "lead").await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    // Not a change, not a status: nothing is recorded, and the host's statement goes through.
    set_status(&world, other, "lead").await;
    set_status(&world, other, "who knows").await;
    world.sql(format!("UPDATE public.events SET status = NULL WHERE id = '{other}'")).await;
    assert_eq!((pending(&world).await, published(&worker)), (0, 2.0));
    worker.stop().await;
}

/// Events with a status, and no record of any of them.
async fn confirmed_events(world: &World, count: i64) -> Vec<Uuid> {
    let events = sqlx::query_scalar(
        "INSERT INTO public.events (status) SELECT 'confirmed' FROM generate_series(1, $1) RETURNING id",
    )
    .bind(count)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    world.sql("DELETE FROM snapshot_lifecycle.outbox").await;
    events
}

/// As a restore of the data alone does, and an import, and a backend that deletes a row and inserts it again.
async fn copy_events_anew(world: &World) {
    world
        .sql(
            "BEGIN;
             CREATE TEMP TABLE kept AS SELECT * FROM public.events;
             ALTER TABLE public.snapshots DROP CONSTRAINT snapshots_event_id_fkey;
             DELETE FROM public.events;
             INSERT INTO public.events SELECT * FROM kept;
             ALTER TABLE public.snapshots ADD CONSTRAINT snapshots_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.events (id);
             DROP TABLE kept;
             COMMIT",
        )
        .await;
}

#[tokio::test]
async fn row_that_arrives_by_insert_ends_no_event_unless_that_was_asked_for() {
    let world = World::new().await;
    installed(&world).await;
    let team = world.team().await;
    let events = confirmed_events(&world, 3).await;
    let mut snapshots = Vec::new();
    for event in &events {
        snapshots.push(world.insert(&Snapshot::of(team).event(*event)).await);
    }
    copy_events_anew(&world).await;
    assert_eq!(pending(&world).await, 0);
    let worker = world.worker().await;
    set_status(&world, events[0], "cancelled").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([snapshots[1], snapshots[2]]));
    worker.stop().await;

    let status = world.run(&["outbox", "status"]).await.json();
    assert_eq!(
        (&status["installed"][0]["on_insert"], &status["installed"][0]["enabled"]),
        (&false.into(), &true.into())
    );
    let with = world.run(&["outbox", "install", "--on-insert"]).await.json();
    assert_eq!((&with["installed"][0]["on_insert"], &with["installed"][0]["enabled"]), (&true.into(), &true.into()));
    copy_events_anew(&world).await;
    assert_eq!(pending(&world).await, 3);
    world.sql("ALTER TABLE public.events DISABLE TRIGGER snapshot_lifecycle_outbox_insert").await;
    let disabled = world.run(&["outbox", "status"]).await.json();
    assert_eq!(disabled["installed"][0]["enabled"], false);
    let without = world.run(&["outbox", "install"]).await.json();
    assert_eq!(without["installed"][0]["on_insert"], false);
    copy_events_anew(&world).await;
    assert_eq!(pending(&world).await, 3);
}

#[tokio::test]
async fn what_the_transaction_of_the_change_writes_stays() {
    let world = World::new().await;
    installed(&world).await;
    let (team, event) = (world.team().await, world.event().await);
    let worker = world.worker().await;
    let copy = listen_in(&world).await;
    let write = format!(
        "INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data) VALUES ('{team}', 'offer', '{event}', '{{}}')"
    );
    world.sql(write.clone()).await;
    world
        .sql(format!(
            "BEGIN; {write}; UPDATE public.events SET status = 'option' WHERE id = '{event}';
             UPDATE public.events SET status = 'confirmed' WHERE id = '{event}'; SELECT pg_sleep(0.01); {write}; COMMIT"
        ))
        .await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.count("true").await, 2, "the one of before is gone");
    worker.stop().await;
    let (statuses, _) = heard(&world, &copy).await;
    assert_eq!(statuses[&event.to_string()], ["option", "confirmed"], "of the same time, in order");
}

/// As a version before inserts were left out has installed it.
async fn installed_by_an_older_version(world: &World) {
    world
        .sql(
            "ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN team_id UUID;
             DELETE FROM snapshot_lifecycle.migrations WHERE version BETWEEN 20261125100000 AND 20261125100400;
             DROP INDEX snapshot_lifecycle.outbox_event;
             ALTER TABLE snapshot_lifecycle.outbox DROP COLUMN exchange, ALTER COLUMN occurred_at SET DEFAULT clock_timestamp();
             GRANT EXECUTE ON FUNCTION snapshot_lifecycle.fill_expires_at TO PUBLIC;
             ALTER FUNCTION snapshot_lifecycle.fill_expires_at SET search_path = ''",
        )
        .await;
    let install: String = sqlx::query_scalar(include_str!("../../fixtures/outbox_trigger_of_2026-01.sql"))
        .fetch_one(&world.pool)
        .await
        .unwrap();
    world.sql(install).await;
}

#[tokio::test]
async fn migrate_brings_over_what_an_older_version_installed() {
    let world = World::new().await;
    installed_by_an_older_version(&world).await;
    world.sql("INSERT INTO public.events (status) VALUES ('lead')").await;
    assert_eq!(pending(&world).await, 1, "inserts are recorded");
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    world.sql("INSERT INTO public.events (status) VALUES ('lead')").await;
    assert_eq!(pending(&world).await, 1, "inserts are not");
    let trigger = world.run(&["outbox", "status"]).await.json()["installed"][0].clone();
    assert_eq!(trigger["columns"], serde_json::json!({ "id": "id", "status": "status", "team": "team_id" }));
    assert_eq!(
        (&trigger["on_insert"], &trigger["enabled"], &trigger["outdated"]),
        (&false.into(), &true.into(), &false.into())
    );
    let (team, event) = (world.team().await, world.event().await);
    world
        .sql(format!(
            "BEGIN; UPDATE public.events SET status = 'confirmed', team_id = '{team}' WHERE id = '{event}';
             INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data) VALUES ('{team}', 'offer', '{event}', '{{}}'); COMMIT"
        ))
        .await;
    let recorded: (Uuid, Option<Uuid>, bool) = sqlx::query_as(
        "SELECT event_id, team_id, occurred_at < (SELECT created_at FROM public.snapshots) FROM snapshot_lifecycle.outbox ORDER BY id OFFSET 1",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(recorded, (event, Some(team), true));
    // Nothing is left for a second time, with or without it.
    assert_eq!(world.run(&["migrate"]).await.json()["applied"].as_array().unwrap().len(), 0);
    world.run(&["outbox", "install", "--on-insert"]).await;
    world.run(&["migrate"]).await;
    assert_eq!(world.run(&["outbox", "status"]).await.json()["installed"][0]["on_insert"], true);
}

#[tokio::test]
async fn migrate_waits_for_the_lock_of_a_table_with_an_older_trigger() {
    let world = World::new().await;
    installed_by_an_older_version(&world).await;
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.events IN ROW EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let migrate = Running::start(world.program(&["migrate"]));
    // By its transaction: between two tries there are only milliseconds in which it does not wait.
    let waiting_since = async || -> Option<time::OffsetDateTime> {
        let since = "SELECT max(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'";
        sqlx::query_scalar(since).fetch_one(&world.pool).await.unwrap()
    };
    eventually("migrate to wait for the table", async || waiting_since().await.is_some()).await;
    let first = waiting_since().await;
    eventually("its first try to be over", async || waiting_since().await.is_some_and(|since| Some(since) > first))
        .await;
    holder.rollback().await.unwrap();
    let migrated = migrate.ended().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert!(migrated.stderr.contains("has to wait for a lock"), "{migrated:?}");
    let trigger = world.run(&["outbox", "status"]).await.json()["installed"][0].clone();
    assert_eq!((&trigger["on_insert"], &trigger["outdated"]), (&false.into(), &false.into()));
}

#[tokio::test]
async fn migrate_tells_of_an_older_trigger_whose_columns_have_other_names() {
    let world = World::new().await;
    installed_by_an_older_version(&world).await;
    world.sql("ALTER TABLE public.events RENAME COLUMN status TO state").await;
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert!(migrated.stderr.contains("run `outbox install` again"), "{migrated:?}");
    let trigger = world.run(&["outbox", "status"]).await.json()["installed"][0].clone();
    assert_eq!((&trigger["on_insert"], &trigger["outdated"]), (&true.into(), &true.into()));
    assert_eq!(trigger["problem"], "it was installed by an older version");
    let worker = world.worker().await;
    let anew = "the outbox's trigger is outdated: run `outbox install` again";
    eventually("the worker to say so", async || !worker.logged(anew).is_empty()).await;
    tokio::time::sleep(Duration::from_secs(2)).await; // some looks at the outbox
    assert_eq!(worker.logged(anew).len(), 1, "once");
    worker.stop().await;
    let anew = world.run(&["outbox", "install", "--status-column", "state"]).await.json();
    assert_eq!((&anew["installed"][0]["on_insert"], &anew["installed"][0]["outdated"]), (&false.into(), &false.into()));
}

#[tokio::test]
async fn two_workers_publish_each_change_once_and_in_order() {
    let world = World::new().await;
    installed(&world).await;
    let (one, two) = (world.worker().await, world.worker().await);
    let copy = listen_in(&world).await;
    let mut events = Vec::new();
    for _ in 0..20 {
        events.push(world.event().await);
    }
    let order = ["lead", "option", "blocked", "option", "confirmed", "cancelled"];
    for status in order {
        for event in &events {
            set_status(&world, *event, status).await;
        }
    }
    eventually("all to be published", async || published(&one) + published(&two) >= 120.0).await;
    eventually("the outbox to be empty", async || pending(&world).await == 0).await;
    let (statuses, ids) = heard(&world, &copy).await;
    assert_eq!(ids.len(), 120, "each once");
    assert_eq!(statuses.len(), 20);
    assert!(statuses.values().all(|heard| heard == &order), "{statuses:?}");
    assert!(published(&one) < 1.0 || published(&two) < 1.0, "one of them does it");
    // The other takes over when the first is gone.
    let (mut busy, idle) = if published(&one) > 0.0 { (one, two) } else { (two, one) };
    busy.signal("KILL");
    busy.ended().await;
    set_status(&world, events[0], "lead").await;
    eventually("the other to take over", async || published(&idle) >= 1.0).await;
    idle.stop().await;
}

#[tokio::test]
async fn worker_killed_half_way_loses_nothing() {
    let world = World::new().await;
    installed(&world).await;
    let team = world.team().await;
    world
        .sql(format!(
            "INSERT INTO public.events SELECT gen_random_uuid(), NULL, NULL FROM generate_series(1, 3000);
             INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data, created_at)
             SELECT '{team}', 'offer', id, '{{}}', now() - interval '1 hour' FROM public.events;
             UPDATE public.events SET status = 'confirmed'"
        ))
        .await;
    let survivor = world.insert(&Snapshot::of(team)).await;
    assert_eq!(pending(&world).await, 3_000);
    for _ in 0..3 {
        let before = pending(&world).await;
        let mut worker = world.worker().await;
        eventually("some to be published", async || pending(&world).await < before || before == 0).await;
        worker.signal("KILL");
        worker.ended().await;
    }
    let worker = world.worker().await;
    eventually("everything to be applied", async || {
        pending(&world).await == 0 && world.snapshots().await == set([survivor])
    })
    .await;
    worker.stop().await;
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn records_wait_for_a_broker_that_is_away() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    installed(&world).await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    servers.control(&["rabbitmq", "kill"]);
    set_status(&world, event, "confirmed").await;
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
    eventually("the record to be gone", async || pending(&world).await == 0).await;
    assert_eq!(worker.logged("outbox is published again").len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn worker_listens_where_the_connection_allows_it() {
    let world = World::new().await;
    installed(&world).await;
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
    set_status(&world, world.event().await, "lead").await;
    assert_eq!(listener.recv().await.unwrap().channel(), "snapshot_lifecycle_outbox");
    worker.stop().await;
}

#[tokio::test]
async fn unroutable_record_stays_until_it_is_routable() {
    let world = World::new().await;
    installed(&world).await;
    let event = world.event().await;
    let worker = world.worker().await;
    let (connection, channel) = world.channel().await;
    let (queue, exchange) = (world.queue.as_str(), world.exchange.as_str());
    channel.queue_unbind(queue.into(), exchange.into(), "event.status.#".into(), FieldTable::default()).await.unwrap();
    set_status(&world, event, "confirmed").await;
    eventually("a failed try", async || worker.metric("outbox_messages_total{outcome=\"failed\"}") >= 1.0).await;
    assert_eq!(pending(&world).await, 1);
    let bind = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "event.status.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    connection.close(200, "done".into()).await.ok();
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    eventually("the record to be gone", async || pending(&world).await == 0).await;
    let again = "outbox is published again";
    eventually("the worker to say so", async || !worker.logged(again).is_empty()).await;
    let waits = worker.logged("outbox is not published; its records wait, trying again");
    assert_eq!((waits.len(), worker.logged(again).len()), (1, 1), "once each: {}", worker.log_text());
    worker.stop().await;
}

#[tokio::test]
async fn idle_workers_keep_one_lease_and_cost_the_database_little() {
    let world = World::new().await;
    installed(&world).await;
    let workers = (world.worker().await, world.worker().await);
    let lease = async || -> (Uuid, time::OffsetDateTime) {
        let lease = "SELECT holder, expires_at FROM snapshot_lifecycle.lease WHERE name LIKE 'outbox%'";
        sqlx::query_as(lease).fetch_one(&world.pool).await.unwrap()
    };
    let transactions = async || -> i64 {
        let count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        sqlx::query_scalar(count).fetch_one(&world.pool).await.unwrap()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ((holder, expires_at), before) = (lease().await, transactions().await);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let spent = transactions().await - before;
    let (still, later) = lease().await;
    assert!(still == holder && later > expires_at, "it is renewed long before its end");
    assert!(spent < 200, "{spent} transactions in four seconds");
    set_status(&world, world.event().await, "lead").await;
    eventually("the change to be published", async || pending(&world).await == 0).await;
    workers.0.stop().await;
    workers.1.stop().await;
}

#[tokio::test]
async fn uninstalled_it_leaves_no_trace_on_the_hosts_table() {
    let world = World::new().await;
    world.sql("CREATE SCHEMA \"Odd One\"; CREATE TYPE public.state AS ENUM ('Lead', 'Confirmed')").await;
    world
        .sql(
            "CREATE TABLE \"Odd One\".\"My Events\" (\"Event Id\" UUID PRIMARY KEY, \"State\" public.state, wrong INT)",
        )
        .await;
    let trace = async || -> i64 {
        sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'snapshot_lifecycle_outbox%') \
                  + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'record\\_status\\_of\\_%')",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap()
    };
    let install =
        ["outbox", "install", "--table", "Odd One.My Events", "--id-column", "Event Id", "--status-column", "State"];
    for _ in 0..2 {
        let answer = world.run(&install).await;
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_eq!(answer.json()["installed"][0]["table"], "\"Odd One\".\"My Events\"");
        assert_eq!(trace().await, 2, "a trigger and a function, however often");
    }
    let change = "INSERT INTO \"Odd One\".\"My Events\" VALUES (gen_random_uuid(), 'Lead', 1);
                  UPDATE \"Odd One\".\"My Events\" SET \"State\" = 'Confirmed'";
    world.sql(change).await;
    let table = world.run(&["outbox", "status", "--output", "table"]).await;
    assert!(table.stdout.contains("status State") && table.stdout.contains("1 record waits"), "{table:?}");
    installed(&world).await;
    let preview = world.run(&["outbox", "uninstall"]).await.json();
    let named = |answer: &Value| -> Vec<String> {
        let triggers = answer["triggers"].as_array().unwrap();
        triggers.iter().map(|trigger| trigger["table"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(named(&preview), ["\"Odd One\".\"My Events\"", "public.events"]);
    assert_eq!((&preview["dry_run"], &preview["removed"], trace().await), (&true.into(), &0.into(), 4));
    let one = world.run(&["outbox", "uninstall", "--table", "Odd One.My Events", "--yes"]).await;
    assert_eq!((one.code, trace().await), (0, 2), "{one:?}");
    let left = &one.json()["installed"];
    assert_eq!((left[0]["table"].as_str(), left.as_array().unwrap().len()), (Some("public.events"), 1));
    let none = world.run(&["outbox", "uninstall", "--table", "meetings", "--yes"]).await.json();
    assert_eq!((&none["removed"], trace().await), (&0.into(), 2));
    let removed = world.run(&["outbox", "uninstall", "--yes"]).await;
    assert_eq!((removed.code, trace().await), (0, 0), "{removed:?}");
    assert_eq!(removed.json()["pending"], 1, "what is recorded stays");
    world.sql(change).await;
    assert_eq!(pending(&world).await, 1);
    assert_eq!(world.run(&["outbox", "uninstall", "--yes"]).await.code, 0, "twice is no error");
}

#[tokio::test]
async fn host_role_without_rights_of_ours_is_recorded_and_may_not_read() {
    let world = World::new().await;
    installed(&world).await;
    let event = world.event().await;
    let role = format!("api_{}", Uuid::new_v4().simple());
    world
        .sql(format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT, UPDATE ON public.events TO {role}"))
        .await;
    let url = as_user(&world.database_url, &role, "secret");
    let api = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::query("UPDATE public.events SET status = 'confirmed'").execute(&api).await.unwrap();
    assert!(sqlx::query("SELECT * FROM snapshot_lifecycle.outbox").execute(&api).await.is_err());
    api.close().await;
    let of: Uuid =
        sqlx::query_scalar("SELECT event_id FROM snapshot_lifecycle.outbox").fetch_one(&world.pool).await.unwrap();
    assert_eq!(of, event);
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn wrong_use_says_the_mend() {
    let world = World::new().await;
    world.sql("CREATE DOMAIN public.moment AS timestamptz; CREATE DOMAIN public.word AS varchar(9); CREATE DOMAIN public.state AS public.word;
         ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN number INT, ADD COLUMN since public.moment, ADD COLUMN state public.state,
             ADD COLUMN parent UUID; CREATE VIEW public.seen AS SELECT * FROM public.events").await;
    for (arguments, said) in [
        (&["--table", "meetings"][..], "there is no table public.meetings"),
        (&["--table", "seen"], "is no table"),
        (&["--status-column", "phase"], "--status-column names it"),
        (&["--id-column", "number"], "event ids are uuid"),
        (&["--team-column", "team"], "--team-column names it"),
        (&["--team-column", "number"], "team ids are uuid"),
        (&["--status-column", "number"], "column number is of type integer; a status is a text or an enumeration"),
        (&["--status-column", "since"], "moment; a status is a text or an enumeration"),
        (&["--id-column", "parent"], "--team-column limits each record"),
    ] {
        let refused = world.run(&[&["outbox", "install"], arguments].concat()).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(said), "{arguments:?}: {refused:?}");
    }
    for exchange in ["", "amq.topic"] {
        assert_eq!(world.run(&["outbox", "install", "--exchange", exchange]).await.code, 2, "{exchange}");
    }
    let status = world.run(&["outbox", "status"]).await;
    assert_eq!(status.json()["installed"].as_array().unwrap().len(), 0);
    let over_a_domain = world.run(&["outbox", "install", "--status-column", "state"]).await;
    assert_eq!(over_a_domain.code, 0, "{over_a_domain:?}");
    // A lock that others hold is not waited for.
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.events IN ROW EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let locked = world.run(&["outbox", "install"]).await;
    assert!(locked.code == 1 && locked.stderr.contains("locked by others"), "{locked:?}");
    holder.rollback().await.unwrap();
    let mut command = world.program(&["outbox", "status"]);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    assert_eq!(finish(command).code, 1);
}

#[tokio::test]
async fn status_that_is_written_otherwise_is_no_change() {
    let world = World::new().await;
    installed(&world).await;
    let event = Uuid::new_v4();
    world.sql(format!("INSERT INTO public.events (id) VALUES ('{event}')")).await;
    set_status(&world, event, "Confirmed").await;
    assert_eq!(pending(&world).await, 1);
    for same in ["confirmed", " CONFIRMED ", "Confirmed"] {
        set_status(&world, event, same).await;
    }
    assert_eq!(pending(&world).await, 1, "a snapshot made since would be deleted by a second end of the event");
    for (other, count) in [("cancelled", 2), ("on hold", 2), ("cancelled", 3)] {
        set_status(&world, event, other).await;
        assert_eq!(pending(&world).await, count, "{other}");
    }
}

#[tokio::test]
async fn columns_that_are_renamed_or_dropped_neither_fail_the_host_nor_lose_a_change() {
    let world = World::new().await;
    installed(&world).await;
    let (event, team) = (world.event().await, world.team().await);
    world
        .sql(format!(
            "ALTER TABLE public.events RENAME COLUMN status TO state;
             ALTER TABLE public.events RENAME COLUMN id TO event_number;
             UPDATE public.events SET team_id = '{team}', state = 'Option' WHERE event_number = '{event}'"
        ))
        .await;
    let recorded: (Uuid, Option<Uuid>, String) =
        sqlx::query_as("SELECT event_id, team_id, status FROM snapshot_lifecycle.outbox")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(recorded, (event, Some(team), "option".to_owned()));
    world
        .sql(format!(
            "ALTER TABLE public.events DROP COLUMN team_id;
             UPDATE public.events SET state = 'option ' WHERE event_number = '{event}';
             UPDATE public.events SET state = 'lead' WHERE event_number = '{event}'"
        ))
        .await;
    let recorded: Vec<(Uuid, Option<Uuid>, String)> =
        sqlx::query_as("SELECT event_id, team_id, status FROM snapshot_lifecycle.outbox ORDER BY id OFFSET 1")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(recorded, [(event, None, "lead".to_owned())]);
    let status = world.run(&["outbox", "status"]).await.json();
    assert_eq!((&status["installed"][0]["enabled"], &status["installed"][0]["outdated"]), (&true.into(), &true.into()));
    let anew = ["outbox", "install", "--id-column", "event_number", "--status-column", "state"];
    assert_eq!(world.run(&anew).await.json()["installed"][0]["outdated"], false);
}

#[tokio::test]
async fn records_that_nobody_takes_hold_up_no_other_event() {
    let world = World::new().await;
    installed(&world).await;
    world.run(&["outbox", "install", "--on-insert"]).await;
    // More than are looked at at once, many times over.
    let unroutable = 12_000;
    let queue = format!("{}.confirmed-only", world.queue);
    let (connection, channel) = world.channel().await;
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    let topic = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    let (exchange, none) = (world.exchange.as_str(), lapin::types::FieldTable::default);
    channel.exchange_declare(exchange.into(), lapin::ExchangeKind::Topic, topic, none()).await.unwrap();
    channel.queue_declare(queue.as_str().into(), durable, none()).await.unwrap();
    channel
        .queue_bind(queue.as_str().into(), exchange.into(), "event.status.confirmed".into(), Default::default(), none())
        .await
        .unwrap();
    // The worker's own queue takes nothing of the exchange.
    let worker = world.worker().await;
    channel.queue_unbind(world.queue.as_str().into(), exchange.into(), "event.status.#".into(), none()).await.unwrap();
    let stuck = Uuid::new_v4();
    world
        .sql(format!(
            "INSERT INTO public.events (id, status) VALUES ('{stuck}', 'lead');
             INSERT INTO public.events (status) SELECT 'lead' FROM generate_series(1, {unroutable});
             INSERT INTO public.events (status) SELECT 'confirmed' FROM generate_series(1, 700);
             UPDATE public.events SET status = 'confirmed' WHERE id = '{stuck}'"
        ))
        .await;
    eventually("all that can be routed to be published", async || world.depth(&queue).await >= 700).await;
    assert!(pending(&world).await >= unroutable + 2, "what is stuck stays, and nothing of the same event overtakes it");
    channel
        .queue_bind(queue.as_str().into(), exchange.into(), "event.status.lead".into(), Default::default(), none())
        .await
        .unwrap();
    eventually("the rest to be published", async || pending(&world).await == 0).await;
    worker.stop().await;
    assert_eq!(i64::from(world.depth(&queue).await), unroutable + 702);
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn partitioned_table_is_refused() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE public.bookings (id UUID, status TEXT, day DATE) PARTITION BY RANGE (day);
             CREATE TABLE public.bookings_old PARTITION OF public.bookings FOR VALUES FROM (MINVALUE) TO ('2026-01-01')",
        )
        .await;
    for table in ["bookings", "bookings_old"] {
        let refused = world.run(&["outbox", "install", "--table", table]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("partitioned"), "{refused:?}");
    }
}

#[tokio::test]
async fn transaction_that_is_prepared_is_recorded_and_published() {
    let world = World::on(Servers::own(|_| (vec!["max_prepared_transactions=10".to_owned()], Vec::new()))).await;
    installed(&world).await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    world
        .sql(format!(
            "BEGIN; UPDATE public.events SET status = 'confirmed' WHERE id = '{event}'; PREPARE TRANSACTION 'two-phase'"
        ))
        .await;
    assert_eq!(world.snapshots().await.len(), 1);
    world.sql("COMMIT PREPARED 'two-phase'").await;
    eventually("the snapshot to be gone", async || world.snapshots().await.is_empty()).await;
    worker.stop().await;
}

#[tokio::test]
async fn fleets_with_different_exchanges_publish_each_its_own_records() {
    let world = World::new().await;
    installed(&world).await;
    world.sql("CREATE TABLE public.meetings (id UUID PRIMARY KEY, status TEXT)").await;
    let other = format!("{}.meetings", world.exchange);
    let install = world.run(&["outbox", "install", "--table", "meetings", "--exchange", &other]).await.json();
    let exchanges: Vec<_> =
        install["installed"].as_array().unwrap().iter().map(|it| it["exchange"].as_str().unwrap()).collect();
    assert_eq!(exchanges, [&world.exchange, &other]);
    let worker = world.worker().await;
    // Each holds its lease already, before there is anything to take.
    let meetings_queue = format!("{}.meetings", world.queue);
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
    eventually("all to be published", async || pending(&world).await == 0).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 20.0).await;
    of_meetings.reaches("messages_total{outcome=\"ignored\"}", 30.0).await;
    assert_eq!((published(&worker), published(&of_meetings)), (20.0, 30.0));
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

#[tokio::test]
async fn later_record_of_an_event_does_not_overtake_one_that_was_met_in_the_same_look() {
    let world = World::new().await;
    installed(&world).await;
    let worker = world.worker().await;
    let queue = format!("{}.confirmed-only", world.queue);
    let (connection, channel) = world.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
    let bind = async |key: &str| {
        let (queue, exchange) = (queue.as_str().into(), world.exchange.as_str().into());
        channel
            .queue_bind(queue, exchange, key.into(), QueueBindOptions::default(), FieldTable::default())
            .await
            .unwrap();
    };
    bind("event.status.confirmed").await;
    channel
        .queue_unbind(
            world.queue.as_str().into(),
            world.exchange.as_str().into(),
            "event.status.#".into(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let (event, marker) = (world.event().await, world.event().await);
    world
        .sql(format!(
            "BEGIN; UPDATE public.events SET status = 'lead' WHERE id = '{event}'; UPDATE public.events SET status = 'confirmed' WHERE id = '{event}';
             UPDATE public.events SET status = 'confirmed' WHERE id = '{marker}'; COMMIT"
        ))
        .await;
    eventually("the other event's to be published", async || world.depth(&queue).await > 0).await;
    // A change of the marker that is published after this one has been through a look with the stuck ones.
    set_status(&world, marker, "option").await;
    eventually("both events to be tried again", async || {
        worker.metric("outbox_messages_total{outcome=\"failed\"}") >= 4.0
    })
    .await;
    assert_eq!((world.depth(&queue).await, pending(&world).await), (1, 3));
    bind("event.status.#").await;
    eventually("all to be published", async || pending(&world).await == 0).await;
    worker.stop().await;
    let (statuses, _) = heard(&world, &queue).await;
    assert_eq!(statuses[&event.to_string()], ["lead", "confirmed"]);
    assert_eq!(statuses[&marker.to_string()], ["confirmed", "option"]);
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn record_that_is_committed_behind_others_is_not_overtaken_by_the_next_of_its_event() {
    let world = World::new().await;
    installed(&world).await;
    let worker = world.worker().await;
    let copy = listen_in(&world).await;
    let mut events = Vec::new();
    for round in 1..=8 {
        let (event, other) = (world.event().await, world.event().await);
        let mut slow = world.pool.begin().await.unwrap();
        sqlx::query("UPDATE public.events SET status = 'lead' WHERE id = $1")
            .bind(event)
            .execute(&mut *slow)
            .await
            .unwrap();
        set_status(&world, other, "lead").await;
        eventually("the other's to be published", async || published(&worker) >= f64::from(round * 3 - 2)).await;
        slow.commit().await.unwrap();
        set_status(&world, event, "option").await;
        eventually("both to be published", async || published(&worker) >= f64::from(round * 3)).await;
        events.push(event);
    }
    worker.stop().await;
    let (statuses, _) = heard(&world, &copy).await;
    for event in events {
        assert_eq!(statuses[&event.to_string()], ["lead", "option"]);
    }
}

#[tokio::test]
async fn record_that_is_committed_after_those_behind_it_is_published() {
    let world = World::new().await;
    installed(&world).await;
    let (event, other) = (world.event().await, world.event().await);
    let worker = world.worker().await;
    let mut slow = world.pool.begin().await.unwrap();
    sqlx::query("UPDATE public.events SET status = 'lead' WHERE id = $1")
        .bind(event)
        .execute(&mut *slow)
        .await
        .unwrap();
    for (status, count) in [("lead", 1.0), ("option", 2.0), ("blocked", 3.0)] {
        set_status(&world, other, status).await;
        worker.reaches("messages_total{outcome=\"ignored\"}", count).await;
    }
    slow.commit().await.unwrap();
    worker.reaches("messages_total{outcome=\"ignored\"}", 4.0).await;
    worker.stop().await;
}

/// Dumps a world and restores it into another, as an operator would without the owners and privileges.
async fn restored(world: &World) -> World {
    let other = World::bare(Servers::shared()).await;
    let dump = std::env::temp_dir().join(format!("{}.sql", other.queue));
    for (program, arguments) in
        [("pg_dump", ["--no-owner", "--no-privileges", "--file"]), ("psql", ["--no-psqlrc", "--quiet", "--file"])]
    {
        let url = if program == "psql" { &other.database_url } else { &world.database_url };
        let done =
            std::process::Command::new(program).args(arguments).arg(&dump).arg(url).output().expect("it can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    std::fs::remove_file(&dump).ok();
    other
}

/// What is told of the only trigger, and by doctor.
async fn told(world: &World) -> (String, String) {
    let status = world.run(&["outbox", "status"]).await.json();
    let problem = status["installed"][0]["problem"].as_str().unwrap_or_default().to_owned();
    assert_eq!(status["installed"].as_array().unwrap().len(), 1, "{status}");
    let doctor = world.run(&["doctor"]).await.json();
    let check = doctor["checks"].as_array().unwrap().iter().find(|line| line["check"] == "database.outbox").cloned();
    let check = check.expect("a line of the outbox");
    (problem, format!("{} {}", check["state"].as_str().unwrap(), check))
}

#[tokio::test]
async fn after_a_restore_columns_are_found_and_an_install_is_asked_for() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN junk INT").await;
    installed(&world).await;
    world.sql("ALTER TABLE public.events DROP COLUMN junk").await;
    assert_eq!(told(&world).await.0, "");
    let restored = restored(&world).await;
    let event = restored.event().await;
    assert_eq!(pending(&restored).await, 0);
    set_status(&restored, event, "option").await;
    assert_eq!(pending(&restored).await, 1);
    let (problem, doctor) = told(&restored).await;
    assert!(problem.starts_with("the table was restored, with other column numbers"), "{problem}");
    assert!(
        doctor.starts_with("warning") && doctor.contains(&problem) && doctor.contains("outbox install"),
        "{doctor}"
    );
    let install = ["outbox", "install", "--team-column", "team_id"];
    assert_eq!(restored.run(&install).await.code, 0);
    assert_eq!(told(&restored).await.0, "");
    restored.sql("ALTER TABLE public.events RENAME COLUMN status TO state").await;
    restored.sql(format!("UPDATE public.events SET state = 'lead' WHERE id = '{event}'")).await;
    assert_eq!(pending(&restored).await, 2);
    // With the same numbers the privileges alone are missing.
    let again = self::restored(&world).await;
    again.run(&install).await;
    let third = self::restored(&again).await;
    let (problem, doctor) = told(&third).await;
    assert!(problem.starts_with("every role may execute its function"), "{problem}");
    assert!(doctor.starts_with("warning"), "{doctor}");
}

#[tokio::test]
async fn table_that_was_made_anew_is_told_from_one_without_a_trigger() {
    let world = World::new().await;
    installed(&world).await;
    world
        .sql("DROP TABLE public.events CASCADE; CREATE TABLE public.events (id UUID PRIMARY KEY, status TEXT, team_id UUID)")
        .await;
    let (problem, doctor) = told(&world).await;
    assert_eq!(problem, "its table was dropped or replaced, and nothing is recorded");
    assert!(doctor.starts_with("failed") && doctor.contains("public.events"), "{doctor}");
    world.run(&["outbox", "install", "--team-column", "team_id"]).await;
    assert_eq!(told(&world).await.0, "");
}

#[tokio::test]
async fn column_of_any_name_stays_a_name() {
    let world = World::new().await;
    let (id, status, team) = ("i'd $body$ $statements$", "st\"at%1$Lus\\", "$f$; RAISE 'no'; --");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    world
        .sql(format!(
            "CREATE TABLE public.odd ({} UUID PRIMARY KEY, {} TEXT, {} UUID)",
            quoted(id),
            quoted(status),
            quoted(team)
        ))
        .await;
    let install = [
        "outbox",
        "install",
        "--table",
        "odd",
        "--id-column",
        id,
        "--status-column",
        status,
        "--team-column",
        team,
        "--on-insert",
        "--exchange",
        "$body$'x",
    ];
    let installed = world.run(&install).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    assert_eq!(installed.json()["installed"][0]["problem"], Value::Null);
    let (event, owner) = (Uuid::new_v4(), Uuid::new_v4());
    world.sql(format!("INSERT INTO public.odd VALUES ('{event}', 'Lead', '{owner}')")).await;
    let recorded: (Uuid, Option<Uuid>, String, String) =
        sqlx::query_as("SELECT event_id, team_id, status, exchange FROM snapshot_lifecycle.outbox")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(recorded, (event, Some(owner), "lead".to_owned(), "$body$'x".to_owned()));
}
