//! What fails for now is tried again, and waits longer each time.

use lapin::types::FieldTable;
use sqlx::Connection;

use crate::support::{Snapshot, World, body, now, set};

#[tokio::test]
async fn one_that_keeps_failing_waits_then_is_dead_lettered_and_its_neighbours_go_on() {
    let world = World::new().await;
    let (team, cursed) = (world.team().await, world.event().await);
    world
        .sql(format!(
            r"
                CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'the backend says no'; END $$;
                CREATE TRIGGER refuse BEFORE DELETE ON public.snapshots
                    FOR EACH ROW WHEN (OLD.event_id = '{cursed}') EXECUTE FUNCTION public.refuse();"
        ))
        .await;
    let row = world.insert(&Snapshot::of(team).event(cursed)).await;
    let mut bodies = vec![body(cursed, "confirmed", now())];
    for _ in 0..40 {
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        bodies.insert(bodies.len() / 2, body(event, "confirmed", now()));
    }
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "2")]).await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 40.0).await;
    assert_eq!(world.snapshots().await, set([row]));
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(dead_letter.reason(), "attempts_exhausted");
    assert_eq!(
        dead_letter.body,
        *bodies.iter().find(|body| String::from_utf8_lossy(body).contains(&cursed.to_string())).unwrap()
    );
    assert!(dead_letter.header("lifecycle-error").contains("the backend says no"), "{dead_letter:?}");
    assert_eq!(dead_letter.header("lifecycle-attempt"), "2");
    assert_eq!(dead_letter.header("lifecycle-exchange"), world.exchange);
    assert_eq!(dead_letter.header("lifecycle-routing-key"), "event.status.confirmed");
    assert!(!dead_letter.headers().contains_key("x-death"));
    assert!((worker.metric("messages_total{outcome=\"retried\"}") - 1.0).abs() < 0.1);
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
}

#[tokio::test]
async fn one_that_keeps_failing_waits_longer_each_time() {
    let world = World::new().await;
    world.refuse_deletes().await;
    let bodies = world.ending_events(1).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "3")]).await;
    // A second is soon over, so a copy of all that passes the exchange of the wait queues shows the way.
    let keys = ["1s", "10s", "1m", "10m", "work"];
    let seen = world.own_queue(&format!("{}.retry", world.queue), &keys).await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 2.0).await;
    let ten_seconds = format!("{}.wait.10s", world.queue);
    crate::support::eventually("it to wait for ten seconds", async || world.depth(&ten_seconds).await == 1).await;
    assert_eq!(world.depth(&format!("{}.wait.1s", world.queue)).await, 0);
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(
        (dead_letter.reason().as_str(), dead_letter.header("lifecycle-attempt").as_str()),
        ("attempts_exhausted", "3")
    );
    assert_eq!(dead_letter.body, bodies[0]);
    worker.stop().await;
    let waited: Vec<_> =
        world.drain(&seen).await.into_iter().map(|copy| (copy.header("lifecycle-attempt"), copy.routing_key)).collect();
    let expected = [("1", "1s"), ("1", "work"), ("2", "10s"), ("2", "work")];
    assert_eq!(waited, expected.map(|(attempt, key)| (attempt.to_owned(), key.to_owned())));
    assert_eq!(world.waiting().await, 0);
}

#[tokio::test]
async fn one_whose_rows_are_locked_is_tried_again_until_they_are_free() {
    let world = World::new().await;
    let (team, locked, free) = (world.team().await, world.event().await, world.event().await);
    world.insert(&Snapshot::of(team).event(locked)).await;
    world.insert(&Snapshot::of(team).event(free)).await;
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut host).await.unwrap();
    sqlx::query("SELECT FROM public.snapshots WHERE event_id = $1 FOR UPDATE")
        .bind(locked)
        .execute(&mut host)
        .await
        .unwrap();
    let worker = world.worker().await;
    world.publish_raw(&[body(locked, "confirmed", now()), body(free, "confirmed", now())]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 1.0).await;
    sqlx::raw_sql("COMMIT").execute(&mut host).await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn table_locked_as_a_whole_is_an_outage_and_counts_no_attempt() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut host).await.unwrap();
    world.confirm_event(event, now()).await;
    crate::support::eventually("the worker to hold the message", async || {
        !worker.logged("database does not take deletes; holding messages").is_empty()
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut host).await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
    assert!(worker.metric("messages_total{outcome=\"retried\"}") < 0.1);
}

#[tokio::test]
async fn column_that_the_backend_gave_another_type_is_an_outage_and_counts_no_attempt() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.sql("ALTER TABLE snapshots DROP CONSTRAINT snapshots_event_id_fkey, ALTER event_id TYPE text").await;
    world.confirm_event(event, now()).await;
    crate::support::eventually("the worker to hold the message", async || {
        !worker.logged("database does not take deletes; holding messages").is_empty()
    })
    .await;
    world.sql("ALTER TABLE snapshots ALTER event_id TYPE uuid USING event_id::uuid").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
    assert!(worker.metric("messages_total{outcome=\"retried\"}") < 0.1);
}

#[tokio::test]
async fn rejected_messages_stay_unacknowledged_while_the_dead_letter_queue_is_gone() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.worker().await.stop().await;
    // One that declares would make it again.
    let worker = world.worker_with(&[("LIFECYCLE_TOPOLOGY", "verify")]).await;
    let (connection, channel) = world.channel().await;
    let dlq = format!("{}.dead-letter", world.queue);
    channel.queue_delete(dlq.as_str().into(), Default::default()).await.unwrap();
    world.publish_raw(&[b"no json".to_vec()]).await;
    crate::support::eventually("the dead letter to come back as unroutable", async || {
        !worker.logged("republishing failed; trying again").is_empty()
    })
    .await;
    // Its neighbours go on meanwhile.
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(worker.metric("messages_total{outcome=\"dead_lettered\"}") < 0.1);
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(dlq.as_str().into(), durable, FieldTable::default()).await.unwrap();
    channel
        .queue_bind(
            dlq.as_str().into(),
            format!("{}.dlx", world.queue).as_str().into(),
            "".into(),
            Default::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(dead_letter.reason(), "invalid_json");
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
    connection.close(200, "done".into()).await.ok();
}
