//! "Event end" in several steps: an event too large or too slow for one statement.

use time::Duration;

use crate::support::{Snapshot, World, body, body_of_team, now, set};

#[tokio::test]
async fn event_too_large_for_one_statement_is_emptied_in_several() {
    let world = World::new().await;
    let (team, event, neighbour) = (world.team().await, world.event().await, world.event().await);
    world
        .sql(format!(
            r"
                INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data, created_at)
                SELECT '{team}', 'offer', '{event}', '{{}}', now() - interval '1 hour' FROM generate_series(1, 6000)"
        ))
        .await;
    let other_team = world.team().await;
    let stay = set([
        world.insert(&Snapshot::of(team)).await,
        world.insert(&Snapshot::of(team).event(event).kind("qna")).await,
        world.insert(&Snapshot::of(other_team).event(event)).await,
        world.insert(&Snapshot::of(team).event(event).created_at(now() + Duration::DAY)).await,
        world.insert(&Snapshot::of(team).event(event).without_created_at()).await,
    ]);
    let made_since = now() - Duration::MINUTE;
    let newer = world.insert(&Snapshot::of(team).event(event).created_at(made_since)).await;
    // A slow host: six seconds for all of them, which no single statement is given.
    world.make_each_delete_take("0.001").await;
    world
        .sql(
            r"
                CREATE TABLE public.transactions (id xid8 PRIMARY KEY);
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO public.transactions SELECT pg_current_xact_id() ON CONFLICT DO NOTHING;
                    RETURN NULL;
                END $$;
                CREATE TRIGGER note AFTER DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.note();",
        )
        .await;
    world.insert(&Snapshot::of(team).event(neighbour)).await;
    let worker = world
        .worker_with(&[("LIFECYCLE_EVICT_INTERVAL", "1000d"), ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "100000")])
        .await;
    let ended = body_of_team(event, Some(team), "confirmed", made_since - Duration::MICROSECOND);
    world.publish_raw(&[ended, body(neighbour, "confirmed", now())]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    let mut stay = stay;
    stay.insert(newer);
    assert_eq!(world.snapshots().await, stay);
    let transactions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM public.transactions").fetch_one(&world.pool).await.unwrap();
    assert!(transactions > 2, "{transactions} transactions for 6,001 rows");
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn large_event_loses_every_row_that_can_go_however_many_a_trigger_keeps() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    // Three seconds for the rows that go, which no single statement is given.
    world
        .sql(format!(
            r"
                CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF OLD.snapshot_type = 'rooms' THEN RETURN NULL; END IF;
                    PERFORM pg_sleep(0.001);
                    RETURN OLD;
                END $$;
                CREATE TRIGGER keep BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.keep();
                INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data, created_at)
                SELECT '{team}', CASE WHEN n <= 3000 THEN 'offer' ELSE 'rooms' END, '{event}', '{{}}',
                       now() - interval '1 hour'
                FROM generate_series(1, 14500) AS n"
        ))
        .await;
    let worker = world
        .worker_with(&[("LIFECYCLE_EVICT_INTERVAL", "1000d"), ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "100000")])
        .await;
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    let told = worker.logged("a trigger or rule of the backend kept rows of an ended event");
    assert_eq!(told[0]["rows"].as_u64(), Some(11_500));
    assert_eq!((world.count("snapshot_type = 'offer'").await, world.count("true").await), (0, 11_500));
    worker.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

/// The ids of a slow event are found long before their rows are deleted.
#[tokio::test]
async fn row_that_changes_while_its_event_is_done_in_steps_is_judged_as_it_is_then() {
    let world = World::new().await;
    let (team, other, event, other_event) =
        (world.team().await, world.team().await, world.event().await, world.event().await);
    world.make_deletes_of_event_take(event, "0.6").await;
    for _ in 0..20 {
        world.insert(&Snapshot::of(team).event(event)).await;
    }
    let worker = world.worker().await;
    world.publish_raw(&[body_of_team(event, Some(team), "confirmed", now())]).await;
    crate::support::eventually("some of it to be done", async || world.count("true").await < 20).await;
    let mut stay = std::collections::BTreeSet::new();
    for change in [
        "created_at = now() + interval '1 hour'".to_owned(),
        "created_at = NULL".to_owned(),
        "snapshot_type = 'qna'".to_owned(),
        format!("team_id = '{other}'"),
        format!("event_id = '{other_event}'"),
    ] {
        // One that nobody is deleting, and that has not been changed.
        let id: uuid::Uuid = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            r"
                UPDATE public.snapshots SET {change} WHERE id = (
                    SELECT id FROM public.snapshots
                    WHERE event_id = $1 AND team_id = $2 AND snapshot_type = 'offer' AND created_at < now()
                    LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING id"
        )))
        .bind(event)
        .bind(team)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        stay.insert(id);
    }
    assert!(worker.metric("messages_total{outcome=\"applied\"}") < 0.1, "it is still under way");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, stay);
    worker.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn slow_event_lets_others_pass_and_outlives_its_worker() {
    let world = World::new().await;
    let (team, slow) = (world.team().await, world.event().await);
    world.make_deletes_of_event_take(slow, "0.6").await;
    for _ in 0..30 {
        world.insert(&Snapshot::of(team).event(slow)).await;
    }
    let survivor = world.insert(&Snapshot::of(team)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.confirm_event(slow, now()).await;
    for round in 1..=3 {
        world.publish_raw(&world.ending_events(10).await).await;
        worker.reaches("messages_total{outcome=\"applied\"}", f64::from(round) * 10.0).await;
    }
    assert!(world.count(&format!("event_id = '{slow}'")).await > 0, "the others passed before it was done");
    crate::support::eventually("some of it to be done", async || {
        world.count(&format!("event_id = '{slow}'")).await < 30
    })
    .await;
    worker.kill();
    let next = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    next.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([survivor]));
    next.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn messages_of_one_batch_end_a_slow_event_up_to_the_latest_of_them() {
    let world = World::new().await;
    let (team, slow) = (world.team().await, world.event().await);
    world.make_each_delete_take("0.6").await;
    for _ in 0..6 {
        world.insert(&Snapshot::of(team).event(slow)).await;
    }
    let minutes_ago = |minutes| now() - time::Duration::minutes(minutes);
    world.insert(&Snapshot::of(team).event(slow).created_at(minutes_ago(10))).await;
    let later = world.insert(&Snapshot::of(team).event(slow).created_at(minutes_ago(1))).await;
    let worker = world.worker().await;
    world.publish_raw(&[body(uuid::Uuid::new_v4(), "lead", now())]).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    // While this one is under way, the next two arrive.
    world.publish_raw(&world.ending_events(1).await).await;
    world.a_delete_is_under_way().await;
    let bodies = [20, 5].map(|minutes| body(slow, "confirmed", minutes_ago(minutes)));
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 3.0).await;
    assert_eq!(world.snapshots().await, set([later]));
    worker.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn message_that_comes_while_its_event_is_emptied_ends_what_was_made_since() {
    let world = World::new().await;
    let (team, slow) = (world.team().await, world.event().await);
    world.make_each_delete_take("0.6").await;
    for _ in 0..10 {
        world.insert(&Snapshot::of(team).event(slow)).await;
    }
    let worker = world.worker().await;
    world.confirm_event(slow, now() - time::Duration::minutes(30)).await;
    crate::support::eventually("some of it to be done", async || world.snapshots().await.len() < 10).await;
    world.insert(&Snapshot::of(team).event(slow).created_at(now() - time::Duration::minutes(10))).await;
    world.terminate_backends().await; // once is no reason to give up
    world.confirm_event(slow, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert_eq!(world.snapshots().await, set([]));
    let told = worker.logged("event ended in steps");
    assert!((1..=2).contains(&told.len()), "once for each that took long: {told:?}");
    assert!(told.iter().filter_map(|line| line["rows"].as_u64()).sum::<u64>() <= 11, "{told:?}");
    let counted = ["snapshots_deleted_total{rule=\"event_end\"}", "messages_total{outcome=\"retried\"}"]
        .map(|of| worker.metric(of));
    assert_eq!(format!("{counted:?}"), "[11.0, 0.0]");
    worker.stop().await;
}

#[tokio::test]
async fn neighbours_in_the_batch_of_a_slow_event_wait_for_few_of_its_rows() {
    let world = World::new().await;
    let (team, slow) = (world.team().await, world.event().await);
    world.make_deletes_of_event_take(slow, "0.6").await;
    for _ in 0..60 {
        world.insert(&Snapshot::of(team).event(slow)).await;
    }
    let mut bodies = world.ending_events(200).await;
    bodies.insert(100, body(slow, "confirmed", now()));
    // The worker declares the queue; the messages are all there when the next one begins.
    world.worker().await.stop().await;
    world.publish_raw(&bodies).await;
    let worker = world.worker().await;
    worker.reaches("messages_total{outcome=\"applied\"}", 200.0).await;
    let left = world.count(&format!("event_id = '{slow}'")).await;
    assert!(left > 50, "{left} of 60 rows are left: a few go in each slice between two batches");
    worker.kill();
}
