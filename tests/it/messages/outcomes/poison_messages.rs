//! A message that fails alone, whatever the error looks like, is told from an outage while others pass.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Obstacle, Snapshot, World, body, now, set};

#[tokio::test]
async fn any_sqlstate_that_a_trigger_raises_for_one_event_is_its_own_messages_failure() {
    const CODES: [&str; 13] = [
        "08001", "08006", "25006", "40001", "40P01", "53100", "53300", "57014", "57P01", "57P03", "58030", "P0001",
        "XX000",
    ];
    let world = World::new().await;
    world.sql(include_str!("create_curse.sql")).await;
    let team = world.team().await;
    let (mut rows, mut bodies) = (std::collections::BTreeSet::new(), Vec::new());
    for code in CODES {
        let event = world.event().await;
        world.sql(format!("INSERT INTO public.curse VALUES ('{event}', '{code}')")).await;
        rows.insert(world.insert(&Snapshot::of(team).event(event)).await);
        bodies.push(body(event, "confirmed", now()));
    }
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.publish_raw(&bodies).await;
    let mut others = 0.0;
    crate::support::eventually("each to be a dead letter while others pass", async || {
        world.publish_raw(&world.ending_events(1).await).await;
        others += 1.0;
        worker.reaches("messages_total{outcome=\"applied\"}", others).await;
        world.dead_letters().await as usize == CODES.len()
    })
    .await;
    for dead_letter in world.take_dead_letters(u32::try_from(CODES.len()).unwrap()).await {
        assert_eq!(
            (dead_letter.reason().as_str(), dead_letter.header("lifecycle-attempt").as_str()),
            ("attempts_exhausted", "1")
        );
        assert!(dead_letter.header("lifecycle-error").contains("cursed"), "{}", dead_letter.header("lifecycle-error"));
    }
    assert_eq!(world.snapshots().await, rows);
    worker.stop().await;
    assert_eq!(world.waiting().await, 0);
}

/// A trigger that ends the session which deletes a row of the event. The server says 57P01, as it does when it shuts down.
async fn end_the_session_of(world: &World, event: Uuid) {
    world
        .sql(format!(
            r"
                CREATE FUNCTION public.end_session() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN OLD; END';
                CREATE TRIGGER end_session BEFORE DELETE ON public.snapshots
                    FOR EACH ROW WHEN (OLD.event_id = '{event}') EXECUTE FUNCTION public.end_session()"
        ))
        .await;
}

#[tokio::test]
async fn event_that_ends_the_workers_session_lets_others_pass_and_is_applied_once_it_can_be() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    end_the_session_of(&world, event).await;
    let row = world.insert(&Snapshot::of(team).event(event)).await;
    let survivor = world.insert(&Snapshot::of(team)).await;
    let mut bodies = world.ending_events(30).await;
    bodies.insert(15, body(event, "confirmed", now()));
    let worker = world.worker().await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 30.0).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 1.0).await;
    assert_eq!((world.snapshots().await, world.dead_letters().await), (set([row, survivor]), 0));
    world.sql("DROP TRIGGER end_session ON public.snapshots").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 31.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await, world.dead_letters().await), (set([survivor]), 0, 0));
}

#[tokio::test]
async fn event_that_ends_the_workers_session_while_others_pass_is_its_own_messages_failure() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    end_the_session_of(&world, event).await;
    let row = world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let poison = body(event, "confirmed", now());
    world.publish_raw(std::slice::from_ref(&poison)).await;
    let mut others = 0.0;
    crate::support::eventually("it to be a dead letter while others pass", async || {
        world.publish_raw(&world.ending_events(1).await).await;
        others += 1.0;
        worker.reaches("messages_total{outcome=\"applied\"}", others).await;
        world.dead_letters().await == 1
    })
    .await;
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!((dead_letter.reason().as_str(), &dead_letter.body), ("attempts_exhausted", &poison));
    let error = dead_letter.header("lifecycle-error");
    assert!(error.contains("terminating connection"), "{error}");
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await), (set([row]), 0));
}

/// Its own rows show that the database takes deletes, whatever the SQLSTATE says.
#[tokio::test]
async fn event_of_which_other_rows_pass_is_at_fault_itself() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let mut rows = Vec::new();
    for _ in 0..3 {
        rows.push(world.insert(&Snapshot::of(team).event(event)).await);
    }
    world.obstruct(rows[1], Obstacle::Raises("53100")).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(dead_letter.reason(), "attempts_exhausted");
    worker.stop().await;
    assert_eq!(world.snapshots().await, set([rows[1]]));
}

#[tokio::test]
async fn delete_that_runs_into_its_time_out_is_its_own_messages_failure() {
    let world = World::new().await;
    let (team, slow) = (world.team().await, world.event().await);
    let row = world.insert(&Snapshot::of(team).event(slow)).await;
    world.make_deletes_of_event_take(slow, "60").await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let mut bodies = world.ending_events(20).await;
    bodies.insert(10, body(slow, "confirmed", OffsetDateTime::now_utc()));
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 20.0).await;
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(dead_letter.reason(), "attempts_exhausted");
    assert!(
        dead_letter.header("lifecycle-error").contains("statement timeout"),
        "{}",
        dead_letter.header("lifecycle-error")
    );
    assert_eq!(world.snapshots().await, set([row]));
    worker.stop().await;
}
