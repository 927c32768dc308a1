//! "TTL": by the database's clock, and by the type's policy where a row came without `expires_at`.

use snapshot_lifecycle::policy::PassName;
use snapshot_lifecycle::storage::{HeldLease, LeaseName};
use sqlx::Connection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, World, eventually, set};

async fn lease(world: &World) -> HeldLease<'static> {
    world.database().lease_acquire(LeaseName::Pass(PassName::Ttl), Uuid::new_v4(), None).await.unwrap().held().unwrap()
}

#[tokio::test]
async fn expired_goes_at_the_cutoff_and_a_microsecond_later_stays() {
    let world = World::new().await;
    let (team, database) = (world.team().await, world.database());
    let cutoff = database.ttl_cutoff().await.unwrap();
    world.insert(&Snapshot::of(team).expires_at(cutoff - Duration::MICROSECOND)).await;
    world.insert(&Snapshot::of(team).expires_at(cutoff)).await;
    let later = world.insert(&Snapshot::of(team).expires_at(cutoff + Duration::MICROSECOND)).await;
    let batch = database.ttl_delete_batch(lease(&world).await, None, cutoff, 100, None).await.unwrap().unwrap();
    assert_eq!(batch.deleted, 2);
    assert_eq!(world.snapshots().await, set([later]));
}

#[tokio::test]
async fn worker_sweeps_what_has_expired_of_every_type_and_nothing_else() {
    let world = World::new().await;
    let (team, event, now) = (world.team().await, world.event().await, OffsetDateTime::now_utc());
    for kind in ["offer", "rooms", "products", "qna", "floor_plan"] {
        world.insert(&Snapshot::of(team).kind(kind).event(event).expires_at(now - Duration::SECOND)).await;
    }
    let alive = world.insert(&Snapshot::of(team).event(event).expires_at(now + Duration::HOUR)).await;
    let worker = world.worker_with(&[("LIFECYCLE_SWEEP_INTERVAL", "200ms")]).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 5.0).await;
    assert_eq!(world.snapshots().await, set([alive]));
    let soon = world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::now_utc() + Duration::SECOND)).await;
    assert!(world.snapshots().await.contains(&soon));
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 6.0).await;
    assert_eq!(world.snapshots().await, set([alive]));
    eventually("the gauge of the last pass", async || worker.metric("last_pass_timestamp_seconds{rule=\"ttl\"}") > 1e9)
        .await;
}

#[tokio::test]
async fn many_rows_of_one_instant_are_swept_in_several_batches() {
    let world = World::new().await;
    let (team, database) = (world.team().await, world.database());
    let at = OffsetDateTime::now_utc() - Duration::HOUR;
    for _ in 0..7 {
        world.insert(&Snapshot::of(team).expires_at(at)).await;
    }
    let (lease, cutoff) = (lease(&world).await, database.ttl_cutoff().await.unwrap());
    let (mut last, mut deleted, mut batches) = (None, 0, 0);
    loop {
        let batch = database.ttl_delete_batch(lease, last.as_ref(), cutoff, 2, None).await.unwrap().unwrap();
        deleted += batch.deleted;
        batches += 1;
        last = batch.last;
        if batch.found == 0 {
            break;
        }
    }
    assert_eq!((deleted, batches), (7, 5));
    assert!(world.snapshots().await.is_empty());
}

#[tokio::test]
async fn row_without_expires_at_gets_its_types_ttl_and_an_explicit_one_is_honoured() {
    let world = World::new().await;
    let team = world.team().await;
    for (kind, days) in [("offer", 7), ("rooms", 7), ("products", 7), ("floor_plan", 7), ("qna", 365)] {
        world
            .sql(format!(
                "INSERT INTO public.snapshots (team_id, snapshot_type, data) VALUES ('{team}', '{kind}', '{{}}')"
            ))
            .await;
        let right = format!("snapshot_type = '{kind}' AND expires_at = created_at + interval '{days} days'");
        assert_eq!(world.count(&right).await, 1, "{kind}");
    }
    world
        .sql(format!(
            r"
                INSERT INTO public.snapshots (team_id, snapshot_type, data, created_at, expires_at)
                VALUES ('{team}', 'old', '{{}}', '2026-01-01Z', NULL),
                       ('{team}', 'undated', '{{}}', NULL, NULL),
                       ('{team}', 'explicit', '{{}}', now(), '2030-01-01Z')"
        ))
        .await;
    assert_eq!(world.count("snapshot_type = 'old' AND expires_at = '2026-01-08Z'").await, 1);
    assert_eq!(world.count("snapshot_type = 'undated' AND expires_at BETWEEN now() + interval '6 days' AND now() + interval '7 days'").await, 1);
    assert_eq!(world.count("snapshot_type = 'explicit' AND expires_at = '2030-01-01Z'").await, 1);
}

#[tokio::test]
async fn row_that_another_holds_is_passed_over_and_one_whose_life_was_lengthened_meanwhile_stays() {
    let world = World::new().await;
    let (team, past) = (world.team().await, OffsetDateTime::now_utc() - Duration::HOUR);
    let held = world.insert(&Snapshot::of(team).expires_at(past)).await;
    world.insert(&Snapshot::of(team).expires_at(past)).await;
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut host).await.unwrap();
    sqlx::query("UPDATE public.snapshots SET expires_at = now() + interval '1 day' WHERE id = $1")
        .bind(held)
        .execute(&mut host)
        .await
        .unwrap();
    let swept = world.run(&["sweep", "--yes"]).await;
    assert_eq!((swept.code, swept.json()["deleted"].as_u64()), (0, Some(1)), "{swept:?}");
    assert_eq!(world.snapshots().await, set([held]));
    sqlx::raw_sql("COMMIT").execute(&mut host).await.unwrap();
    let swept = world.run(&["sweep", "--yes"]).await;
    assert_eq!(swept.json()["deleted"].as_u64(), Some(0));
    assert_eq!(world.snapshots().await, set([held]));
}

#[tokio::test]
async fn row_that_was_passed_over_is_found_by_the_next_sweep() {
    let world = World::new().await;
    let (team, past) = (world.team().await, OffsetDateTime::now_utc() - Duration::HOUR);
    let held = world.insert(&Snapshot::of(team).expires_at(past)).await;
    world.insert(&Snapshot::of(team).expires_at(past + Duration::MINUTE)).await;
    let alive = world.insert(&Snapshot::of(team)).await;
    let mut backend = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut backend).await.unwrap();
    sqlx::query("SELECT FROM public.snapshots WHERE id = $1 FOR UPDATE")
        .bind(held)
        .execute(&mut backend)
        .await
        .unwrap();
    let swept = world.run(&["sweep", "--yes"]).await;
    assert_eq!((swept.code, swept.json()["deleted"].as_u64()), (0, Some(1)), "{swept:?}");
    assert_eq!(world.snapshots().await, set([held, alive]));
    sqlx::raw_sql("ROLLBACK").execute(&mut backend).await.unwrap();
    assert_eq!(world.run(&["sweep", "--yes"]).await.json()["deleted"].as_u64(), Some(1));
    assert_eq!(world.snapshots().await, set([alive]));
}

#[tokio::test]
async fn times_that_no_calendar_has_are_swept_or_kept_like_any_other() {
    let world = World::new().await;
    let team = world.team().await;
    world
        .sql(format!(
            r"
                INSERT INTO public.snapshots (team_id, snapshot_type, data, expires_at)
                SELECT '{team}', 'offer', '{{}}', at::timestamptz
                FROM unnest('{{-infinity,-infinity,0044-03-15 BC,infinity,294276-12-31}}'::text[]) AS at"
        ))
        .await;
    let worker = world.worker_with(&[("LIFECYCLE_SWEEP_INTERVAL", "200ms")]).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 3.0).await;
    assert_eq!(world.count("expires_at > now()").await, 2);
    assert_eq!(world.snapshots().await.len(), 2);
    assert_eq!(world.run(&["sweep"]).await.code, 0);
}

#[tokio::test]
async fn rows_that_the_backend_keeps_hide_none_behind_them() {
    let world = World::new().await;
    let (team, long_ago) = (world.team().await, OffsetDateTime::UNIX_EPOCH);
    let mut kept = std::collections::BTreeSet::new();
    for n in 0..12 {
        let expired = Snapshot::of(team).expires_at(long_ago + Duration::seconds(n));
        kept.insert(world.insert(&expired.kind("contract")).await);
    }
    for n in 0..12 {
        world.insert(&Snapshot::of(team).expires_at(long_ago + Duration::seconds(100 + n))).await;
    }
    world.keep_rows("OLD.snapshot_type = 'contract'").await;
    // A rate of five is a batch of five: fewer than are kept.
    let swept = world.run(&["sweep", "--delete-rate", "5", "--yes"]).await;
    assert_eq!(swept.code, 1, "{swept:?}");
    assert_eq!(world.snapshots().await, kept);
}

#[tokio::test]
async fn rows_that_the_backend_keeps_without_an_error_end_the_pass_with_one() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    world.keep_rows("true").await;
    for arguments in [&["sweep", "--yes"][..], &["delete-event", &event.to_string(), "--yes"]] {
        let ended = world.run(arguments).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("does a trigger or rule of the"), "{ended:?}");
    }
}
