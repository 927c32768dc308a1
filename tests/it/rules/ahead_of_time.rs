//! Messages whose `occurred_at` has not come yet by the database's clock, and their duplicates.

use snapshot_lifecycle::policy::EventEnd;
use snapshot_lifecycle::storage::{EventEndOutcome, Limits};
use sqlx::Connection;
use time::Duration;
use uuid::Uuid;

use crate::support::{Snapshot, World, body, body_of_team, eventually, now, set};

/// A snapshot that is made now, by the database's clock.
async fn make(world: &World, team: Uuid, event: Uuid) -> Uuid {
    sqlx::query_scalar(
        "INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data) VALUES ($1, 'offer', $2, '{}') RETURNING id",
    )
    .bind(team)
    .bind(event)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn remembered(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM snapshot_lifecycle.applied_ahead").fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn duplicate_takes_nothing_made_since_the_first_whenever_it_comes() {
    let world = World::new().await;
    let (team, event, soon) = (world.team().await, world.event().await, world.event().await);
    make(&world, team, event).await;
    make(&world, team, soon).await;
    let worker = world.worker().await;
    let soon_at = now() + Duration::seconds(3);
    // With nanoseconds, which PostgreSQL does not keep.
    let minutes_ahead = body(event, "confirmed", now() + Duration::minutes(3) + Duration::nanoseconds(123));
    let seconds_ahead = body(soon, "confirmed", soon_at);
    let both = [minutes_ahead, seconds_ahead];
    world.publish_raw(&both).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert!(world.snapshots().await.is_empty());
    let since = set([make(&world, team, event).await, make(&world, team, soon).await]);
    world.publish_raw(&both).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 4.0).await;
    assert_eq!(world.snapshots().await, since);
    // When its time has come, too.
    eventually("the time to come", async || now() > soon_at).await;
    world.publish_raw(&both).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 6.0).await;
    assert_eq!(world.snapshots().await, since);
    worker.stop().await;
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn another_message_takes_what_it_names() {
    let world = World::new().await;
    let (team, other, event) = (world.team().await, world.team().await, world.event().await);
    make(&world, team, event).await;
    let worker = world.worker().await;
    let at = now() + Duration::minutes(2);
    world.publish_raw(&[body_of_team(event, Some(team), "confirmed", at)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    let (mine, others) = (make(&world, team, event).await, make(&world, other, event).await);
    assert_eq!(world.snapshots().await, set([mine, others]));
    // Of another team, at the same time.
    world.publish_raw(&[body_of_team(event, Some(other), "confirmed", at)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert_eq!(world.snapshots().await, set([mine]));
    // A later one of the same team.
    world.publish_raw(&[body_of_team(event, Some(team), "cancelled", at + Duration::SECOND)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 3.0).await;
    assert!(world.snapshots().await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn duplicate_of_one_that_was_merged_into_a_later_one_takes_nothing_made_since() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    make(&world, team, event).await;
    let database = world.database();
    let end_at = async |occurred_at| {
        let end = EventEnd { event_id: event, team_id: None, occurred_at };
        database.event_end_delete(&[end], Limits::SHORT).await.unwrap()
    };
    let at = now() + Duration::minutes(2);
    // All that is left of two messages in one batch.
    assert_eq!(end_at(at).await, [EventEndOutcome::Deleted { rows: 1, kept: 0 }]);
    let since = make(&world, team, event).await;
    assert_eq!(end_at(at - Duration::MICROSECOND).await, [EventEndOutcome::Deleted { rows: 0, kept: 0 }]);
    assert_eq!(world.snapshots().await, set([since]));
    assert_eq!(end_at(at + Duration::MICROSECOND).await, [EventEndOutcome::Deleted { rows: 1, kept: 0 }]);
}

#[tokio::test]
async fn duplicate_in_steps_takes_nothing_made_since_and_a_preview_says_so() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    make(&world, team, event).await;
    let (id, at) = (event.to_string(), now() + Duration::minutes(3));
    let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
    let delete = async |more: &[&str]| {
        let done = world.run(&[&["delete-event", &id, "--occurred-at", &at], more].concat()).await;
        assert_eq!(done.code, 0, "{done:?}");
        (done.json()["would_delete"].as_i64().unwrap(), done.json()["deleted"].as_i64().unwrap())
    };
    assert_eq!(delete(&[]).await, (1, 0));
    assert_eq!(remembered(&world).await, 0, "a preview remembers nothing");
    assert_eq!(delete(&["--yes"]).await, (1, 1));
    let since = make(&world, team, event).await;
    assert_eq!(delete(&[]).await, (0, 0));
    assert_eq!(delete(&["--yes"]).await, (0, 0));
    assert_eq!(world.snapshots().await, set([since]));
}

#[tokio::test]
async fn of_two_replicas_at_once_the_second_takes_nothing_made_since_the_first_began() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let locked = make(&world, team, event).await;
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    let mut held = host.begin().await.unwrap();
    sqlx::query("SELECT FROM public.snapshots WHERE id = $1 FOR UPDATE")
        .bind(locked)
        .execute(&mut *held)
        .await
        .unwrap();
    let end = EventEnd { event_id: event, team_id: None, occurred_at: now() + Duration::minutes(3) };
    let replica = || {
        let database = world.database();
        tokio::spawn(async move { database.event_end_delete(&[end], Limits::LONG).await })
    };
    let waiting = async |sessions: i64| {
        eventually("a replica to wait", async || {
            let waiting =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&world.pool).await.unwrap() == sessions
        })
        .await;
    };
    let first = replica();
    waiting(1).await;
    let since = make(&world, team, event).await;
    let second = replica();
    waiting(2).await;
    held.commit().await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), [EventEndOutcome::Deleted { rows: 1, kept: 0 }]);
    assert_eq!(second.await.unwrap().unwrap(), [EventEndOutcome::Deleted { rows: 0, kept: 0 }]);
    assert_eq!(world.snapshots().await, set([since]));
    assert_eq!(remembered(&world).await, 1);
    host.close().await.unwrap();
}

#[tokio::test]
async fn sweep_forgets_what_no_snapshot_depends_on() {
    let world = World::new().await;
    let (team, kept, gone) = (world.team().await, world.event().await, world.event().await);
    let applied_at = now() - Duration::hours(3);
    let minute = Duration::MINUTE;
    for event in [kept, gone] {
        world.insert(&Snapshot::of(team).event(event).created_at(applied_at)).await;
        world.insert(&Snapshot::of(team).event(event).created_at(applied_at + minute + Duration::MICROSECOND)).await;
    }
    let between = world.insert(&Snapshot::of(team).event(kept).created_at(applied_at + minute)).await;
    world
        .sql(format!(
            r"
                INSERT INTO snapshot_lifecycle.applied_ahead SELECT event, team, at + interval '1 min', at
                    FROM (VALUES ('{kept}'::uuid), ('{gone}')) AS e (event),
                         (VALUES ('{team}'::uuid), (NULL)) AS t (team),
                         (VALUES ('{applied_at}'::timestamptz)) AS a (at);
                INSERT INTO snapshot_lifecycle.applied_ahead
                    VALUES (gen_random_uuid(), NULL, now(), now() - interval '1 min');
                INSERT INTO snapshot_lifecycle.applied_ahead
                    SELECT gen_random_uuid(), NULL, now() - interval '2 h', now() - interval '3 h'
                    FROM generate_series(1, 12000)"
        ))
        .await;
    assert_eq!(world.run(&["sweep"]).await.code, 0);
    assert_eq!(remembered(&world).await, 12_005, "a preview forgets nothing");
    assert_eq!(world.run(&["sweep", "--yes"]).await.code, 0);
    assert_eq!(remembered(&world).await, 3, "two of the event with a snapshot in between, and one of just now");
    world.sql(format!("DELETE FROM public.snapshots WHERE id = '{between}'")).await;
    assert_eq!(world.run(&["sweep", "--yes"]).await.code, 0);
    assert_eq!(remembered(&world).await, 1);
}
