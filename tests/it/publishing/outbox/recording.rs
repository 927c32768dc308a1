//! What the trigger records: each change of a status that is committed, once, and nothing else.

use uuid::Uuid;

use crate::support::{Servers, Snapshot, World, as_user, eventually, set};

#[tokio::test]
async fn committed_change_of_status_deletes_and_rolled_back_one_does_not() {
    let world = World::new().await;
    let (team, event, other) = (world.team().await, world.event().await, world.event().await);
    world.install_outbox().await;
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
    world.set_status(event, " Confirmed ").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    rolled_back.rollback().await.unwrap();
    assert_eq!(world.snapshots().await, set([survivor]));
    world.set_status(other, "lead").await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    // Not a change, not a status: nothing is recorded, and the backend's statement goes through.
    world.set_status(other, "lead").await;
    world.set_status(other, "who knows").await;
    world.sql(format!("UPDATE public.events SET status = NULL WHERE id = '{other}'")).await;
    assert_eq!((world.outbox_records().await, worker.published()), (0, 2.0));
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
async fn copy_events_again(world: &World) {
    world.sql(include_str!("copy_events_again.sql")).await;
}

#[tokio::test]
async fn row_that_arrives_by_insert_ends_no_event_unless_that_was_asked_for() {
    let world = World::new().await;
    world.install_outbox().await;
    let team = world.team().await;
    let events = confirmed_events(&world, 3).await;
    let mut snapshots = Vec::new();
    for event in &events {
        snapshots.push(world.insert(&Snapshot::of(team).event(*event)).await);
    }
    copy_events_again(&world).await;
    assert_eq!(world.outbox_records().await, 0);
    let worker = world.worker().await;
    world.set_status(events[0], "cancelled").await;
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
    copy_events_again(&world).await;
    assert_eq!(world.outbox_records().await, 3);
    world.sql("ALTER TABLE public.events DISABLE TRIGGER snapshot_lifecycle_outbox_insert").await;
    let disabled = world.run(&["outbox", "status"]).await.json();
    assert_eq!(disabled["installed"][0]["enabled"], false);
    let without = world.run(&["outbox", "install"]).await.json();
    assert_eq!(without["installed"][0]["on_insert"], false);
    copy_events_again(&world).await;
    assert_eq!(world.outbox_records().await, 3);
}

#[tokio::test]
async fn what_the_transaction_of_the_change_writes_stays() {
    let world = World::new().await;
    world.install_outbox().await;
    let (team, event) = (world.team().await, world.event().await);
    let worker = world.worker().await;
    let copy = world.copy_messages().await;
    let write = format!(
        "INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data) VALUES ('{team}', 'offer', '{event}', '{{}}')"
    );
    world.sql(write.clone()).await;
    world
        .sql(format!(
            r"
                BEGIN;
                {write};
                UPDATE public.events SET status = 'option' WHERE id = '{event}';
                UPDATE public.events SET status = 'confirmed' WHERE id = '{event}';
                SELECT pg_sleep(0.01);
                {write};
                COMMIT"
        ))
        .await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.count("true").await, 2, "the one of before is gone");
    worker.stop().await;
    let (statuses, _) = world.take_statuses(&copy).await;
    assert_eq!(statuses[&event.to_string()], ["option", "confirmed"], "of the same time, in order");
}

#[tokio::test]
async fn backend_role_without_rights_of_ours_is_recorded_and_may_not_read() {
    let world = World::new().await;
    world.install_outbox().await;
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
async fn status_that_is_written_otherwise_is_no_change() {
    let world = World::new().await;
    world.install_outbox().await;
    let event = Uuid::new_v4();
    world.sql(format!("INSERT INTO public.events (id) VALUES ('{event}')")).await;
    world.set_status(event, "Confirmed").await;
    assert_eq!(world.outbox_records().await, 1);
    for same in ["confirmed", " CONFIRMED ", "Confirmed"] {
        world.set_status(event, same).await;
    }
    assert_eq!(world.outbox_records().await, 1, "a snapshot made since would be deleted by a second end of the event");
    for (other, count) in [("cancelled", 2), ("on hold", 2), ("cancelled", 3)] {
        world.set_status(event, other).await;
        assert_eq!(world.outbox_records().await, count, "{other}");
    }
}

#[tokio::test]
async fn transaction_that_is_prepared_is_recorded_and_published() {
    let world = World::on(Servers::own(|_| (vec!["max_prepared_transactions=10".to_owned()], Vec::new()))).await;
    world.install_outbox().await;
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

/// Names with values.
type Settings<'a> = &'a [(&'a str, &'a str)];

/// As a request of PostgREST's or of the backend's own does.
async fn set_status_with(world: &World, event: Uuid, status: &str, settings: Settings<'_>) {
    let mut request = world.pool.begin().await.unwrap();
    for (name, value) in settings {
        let set = sqlx::query("SELECT set_config($1, $2, true)").bind(name).bind(value);
        set.execute(&mut *request).await.unwrap();
    }
    let update = sqlx::query("UPDATE public.events SET status = $1 WHERE id = $2").bind(status).bind(event);
    update.execute(&mut *request).await.unwrap();
    request.commit().await.unwrap();
}

#[tokio::test]
async fn trace_of_the_request_goes_on_in_the_message_and_nothing_in_its_place_fails_the_request() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-00000000000000000000000000000001-0000000000000001-00";
    let world = World::with_queues().await;
    world.install_outbox().await;
    let queue = world.copy_messages().await;
    let of_the_request = |value: &str| format!(r#"{{"host":"backend","traceparent": "{value}","x":"y"}}"#);
    let cases: [(Settings<'_>, Option<&str>); 10] = [
        (&[], None),
        (&[("request.headers", &of_the_request(TRACE))], Some(TRACE)),
        (&[("snapshot_lifecycle.traceparent", TRACE)], Some(TRACE)),
        (&[("snapshot_lifecycle.traceparent", TRACE), ("request.headers", &of_the_request(OTHER))], Some(TRACE)),
        (&[("snapshot_lifecycle.traceparent", ""), ("request.headers", &of_the_request(OTHER))], Some(OTHER)),
        (&[("request.headers", "no JSON {")], None),
        (&[("request.headers", "")], None),
        (&[("request.headers", &of_the_request("00-nonsense"))], None),
        // The text of another header, which its sender chooses.
        (&[("request.headers", &format!(r#"{{"x":"\"traceparent\": \"{TRACE}\""}}"#))], None),
        (&[("snapshot_lifecycle.traceparent", &format!("{TRACE}-more"))], None),
    ];
    let (mut expected, mut recorded) = (Vec::new(), Vec::new());
    for (settings, traceparent) in cases {
        let event = world.event().await;
        set_status_with(&world, event, "lead", settings).await;
        recorded.push(event);
        expected.push(traceparent.map(str::to_owned));
    }
    let worker = world.worker().await;
    eventually("every record to be published", async || worker.published() >= 10.0).await;
    let mut published = std::collections::HashMap::new();
    for message in world.drain(&queue).await {
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        let event: Uuid = body["event_id"].as_str().unwrap().parse().unwrap();
        published.insert(event, message.headers().get("traceparent").cloned());
    }
    let published: Vec<_> = recorded.iter().map(|event| published[event].clone()).collect();
    assert_eq!(published, expected);
    worker.stop().await;
}
