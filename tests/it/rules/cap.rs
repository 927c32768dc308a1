//! "Cap": at most N snapshots per team, the oldest go, never one more than needed.

use std::collections::BTreeSet;

use sqlx::Connection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, World, set};

fn newest(ids: &[Uuid], count: usize) -> BTreeSet<Uuid> {
    ids[ids.len() - count..].iter().copied().collect()
}

#[tokio::test]
async fn of_650_exactly_the_newest_500_stay_and_teams_at_the_cap_are_left_alone() {
    let world = World::new().await;
    let mut expected = BTreeSet::new();
    for count in [499, 500, 501, 650] {
        let ids = world.insert_many(world.team().await, count).await;
        expected.extend(newest(&ids, ids.len().min(500)));
    }
    let worker = world.worker_with(&[("LIFECYCLE_EVICT_INTERVAL", "200ms")]).await;
    worker.reaches("snapshots_deleted_total{rule=\"cap\"}", 151.0).await;
    worker.reaches("pass_seconds_count{rule=\"cap\"}", 3.0).await;
    assert_eq!(world.snapshots().await, expected);
}

#[tokio::test]
async fn rows_of_one_instant_go_in_the_order_of_their_ids() {
    let world = World::new().await;
    let (team, at) = (world.team().await, OffsetDateTime::now_utc() - Duration::HOUR);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(world.insert(&Snapshot::of(team).created_at(at)).await);
    }
    ids.sort();
    let evicted = world.run(&["evict", "--yes", "--max-snapshots-per-team", "5"]).await;
    assert_eq!(evicted.json()["deleted"].as_u64(), Some(7), "{evicted:?}");
    assert_eq!(world.snapshots().await, newest(&ids, 5));
}

#[tokio::test]
async fn row_without_created_at_counts_as_oldest() {
    let world = World::new().await;
    let team = world.team().await;
    let ancient = world.insert(&Snapshot::of(team).created_at(OffsetDateTime::UNIX_EPOCH)).await;
    let mut undated = [
        world.insert(&Snapshot::of(team).without_created_at()).await,
        world.insert(&Snapshot::of(team).without_created_at()).await,
    ];
    undated.sort();
    assert_eq!(world.run(&["evict", "--yes", "--max-snapshots-per-team", "2"]).await.code, 0);
    assert_eq!(world.snapshots().await, set([ancient, undated[1]]), "the one with the larger id counts as newer");
    assert_eq!(world.run(&["evict", "--yes", "--max-snapshots-per-team", "1"]).await.code, 0);
    assert_eq!(world.snapshots().await, set([ancient]));
}

#[tokio::test]
async fn rows_that_are_being_deleted_count_as_gone_so_none_too_many_is_evicted() {
    let world = World::new().await;
    let team = world.team().await;
    let ids = world.insert_many(team, 600).await;
    for outcome in ["ROLLBACK", "COMMIT"] {
        let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut host).await.unwrap();
        sqlx::query("DELETE FROM public.snapshots WHERE id = ANY ($1)")
            .bind(&ids[500..])
            .execute(&mut host)
            .await
            .unwrap();
        // 500 are left if the host goes through with it: not one may go.
        let evicted = world.run(&["evict", "--yes"]).await;
        assert_eq!((evicted.code, evicted.json()["deleted"].as_u64()), (0, Some(0)), "{evicted:?}");
        sqlx::raw_sql(outcome).execute(&mut host).await.unwrap();
        let left = if outcome == "COMMIT" { &ids[..500] } else { &ids[..] };
        assert_eq!(world.snapshots().await, left.iter().copied().collect(), "after {outcome}");
    }
    assert_eq!(world.run(&["evict", "--yes"]).await.json()["deleted"].as_u64(), Some(0));
}

#[tokio::test]
async fn while_others_insert_and_delete_no_row_goes_that_has_fewer_than_the_cap_above_it() {
    let world = World::new().await;
    let team = world.team().await;
    world.insert_many(team, 60).await;
    // Kept rows cannot be deleted under an eviction, so what its own transaction sees when it ends is the truth.
    world.sql(include_str!("note_evictions.sql")).await;
    let clients = (0..3).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for _ in 0..60 {
                sqlx::query(
                    r"
                        INSERT INTO public.snapshots (team_id, snapshot_type, data, created_at)
                        SELECT $1, 'offer', '{}', now() - random() * interval '1 day' FROM generate_series(1, 5)",
                )
                .bind(team)
                .execute(&pool)
                .await
                .unwrap();
                sqlx::query("DELETE FROM public.snapshots WHERE id IN (SELECT id FROM public.snapshots ORDER BY random() LIMIT 3)").execute(&pool).await.ok();
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let evictors =
        [world.worker_with(&[("LIFECYCLE_EVICT_INTERVAL", "20ms"), ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "50")]).await];
    for client in clients {
        client.await.unwrap();
    }
    evictors[0].reaches("snapshots_deleted_total{rule=\"cap\"}", 1.0).await;
    drop(evictors);
    let (evictions, fewest): (i64, i64) =
        sqlx::query_as("SELECT count(*), min(left_over) FROM public.evictions").fetch_one(&world.pool).await.unwrap();
    assert!(evictions > 0);
    assert!(fewest >= 50, "an eviction left {fewest} of 50");
    assert_eq!(world.run(&["evict", "--yes", "--max-snapshots-per-team", "50"]).await.code, 0);
    assert!(world.snapshots().await.len() <= 50);
}

#[tokio::test]
async fn evictions_by_several_processes_at_once_take_no_more_than_one() {
    let world = World::new().await;
    let mut expected = BTreeSet::new();
    for _ in 0..5 {
        let ids = world.insert_many(world.team().await, 30).await;
        expected.extend(newest(&ids, 20));
    }
    let evict = ["evict", "--yes", "--max-snapshots-per-team", "20"];
    let (one, two, three) = tokio::join!(world.run(&evict), world.run(&evict), world.run(&evict));
    let mut deleted = 0;
    for evicted in [one, two, three] {
        assert_eq!(evicted.code, 0, "{evicted:?}");
        deleted += evicted.json()["deleted"].as_u64().unwrap();
    }
    assert_eq!(deleted, 50);
    assert_eq!(world.snapshots().await, expected);
}

#[tokio::test]
async fn every_team_is_checked_however_many_there_are() {
    let world = World::new().await;
    world
        .sql(
            r"
                INSERT INTO public.teams SELECT gen_random_uuid() FROM generate_series(1, 1200);
                INSERT INTO public.snapshots (team_id, snapshot_type, data)
                SELECT id, 'offer', '{}' FROM public.teams, generate_series(1, 3);",
        )
        .await;
    let evicted = world.run(&["evict", "--yes", "--max-snapshots-per-team", "2"]).await;
    assert_eq!(evicted.json()["deleted"].as_u64(), Some(1200), "{}", evicted.stderr);
    assert_eq!(world.snapshots().await.len(), 2400);
}

#[tokio::test]
async fn one_team_may_be_evicted_alone() {
    let world = World::new().await;
    let (team, other) = (world.team().await, world.team().await);
    let ids = world.insert_many(team, 30).await;
    let others = world.insert_many(other, 30).await;
    let evicted = world.run(&["evict", "--team", &team.to_string(), "--yes", "--max-snapshots-per-team", "10"]).await;
    assert_eq!(evicted.json()["deleted"].as_u64(), Some(20), "{evicted:?}");
    assert_eq!(world.snapshots().await, newest(&ids, 10).into_iter().chain(others).collect());
}
