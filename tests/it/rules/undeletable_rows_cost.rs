//! What rows that cannot be deleted cost a pass: a handful of transactions, and no other row its turn.

use std::collections::BTreeSet;

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::passes::{CapEviction, Memory, Pass, PassContext, Report, TtlSweep};
use snapshot_lifecycle::storage::Database;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{HOUR, Snapshot, World, eventually, run_pass, set};

#[tokio::test]
async fn one_row_among_thousands_costs_a_handful_of_transactions() {
    let spent = sweep_among(3_001, |n| n == 1_234).await;
    assert!(spent < 50, "{spent} transactions");
}

#[tokio::test]
async fn each_of_many_rows_costs_a_handful_of_transactions() {
    // One in twenty, so that no batch of the usual size passes.
    let (rows, troubled) = (2_000, 100);
    let spent = sweep_among(rows, |n| n % 20 == 7).await;
    assert!(spent < troubled * 30, "{spent} transactions");
}

/// Sweeps `rows` rows, of which some are referred to and stay. Returns how many transactions that took.
async fn sweep_among(rows: usize, is_troubled: impl Fn(usize) -> bool) -> i64 {
    let world = World::new().await;
    let team = world.team().await;
    world.guard_rows().await;
    let ids = world.insert_many(team, i32::try_from(rows).unwrap()).await;
    let troubled: BTreeSet<_> = (0..rows).filter(|n| is_troubled(*n)).map(|n| ids[n]).collect();
    world.sql("UPDATE public.snapshots SET expires_at = created_at").await;
    sqlx::query("INSERT INTO public.page_views SELECT unnest($1::uuid[])")
        .bind(troubled.iter().copied().collect::<Vec<_>>())
        .execute(&world.pool)
        .await
        .unwrap();
    let database = world.database();
    let before = transactions(&world).await;
    let report = run_pass(&database, &TtlSweep, HOUR, &mut Memory::default()).await;
    database.close().await;
    let spent = transactions(&world).await - before;
    assert_eq!((report.deleted, report.stayed.unwrap().rows), ((rows - troubled.len()) as u64, troubled.len() as u64));
    assert_eq!(world.snapshots().await, troubled);
    let least = i64::try_from(report.batches).unwrap();
    assert!(spent > least, "{spent} transactions counted, of {least} that passed alone");
    spent
}

/// Transactions so far, those of the program included.
async fn transactions(world: &World) -> i64 {
    eventually("the program's sessions to be over", async || world.program_sessions().await == 0).await;
    world.transactions().await
}

#[tokio::test]
async fn rows_that_take_too_much_of_a_pass_hide_none_behind_them_from_the_next() {
    let world = World::new().await;
    world.guard_rows().await;
    let team = world.team().await;
    let kinds = ["viewed", "P0001", "viewed", "offer", "offer"];
    let ids = world.insert_guarded(team, &kinds).await;
    let alive = world.insert_many(team, 2).await;
    let (database, mut memory) = (world.database(), Memory::default());
    // As long as nothing at all: each pass steps over one row.
    let reports = [
        run_pass(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
        run_pass(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
        run_pass(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
        run_pass(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
    ];
    assert!(reports.iter().all(|report| report.stayed.as_ref().is_some_and(|stayed| stayed.unfinished)), "{reports:?}");
    let mut expected = set([ids[0], ids[1], ids[2], alive[0], alive[1]]);
    assert_eq!(world.snapshots().await, expected, "{reports:?}");

    // The same above the cap, with two more teams.
    for _ in 0..2 {
        let other = world.team().await;
        let others = world.insert_guarded(other, &kinds).await;
        let newest = world.insert_many(other, 2).await;
        expected.extend([others[0], others[1], others[2], newest[0], newest[1]]);
    }
    let (pass, mut memory) = (CapEviction { cap: 2, team: None }, Memory::default());
    for _ in 0..12 {
        let report = run_pass(&database, &pass, std::time::Duration::ZERO, &mut memory).await;
        let stayed = report.stayed.unwrap();
        assert!(!report.completed && stayed.rows == 1 && stayed.unfinished, "{stayed:?}");
    }
    assert_eq!(world.snapshots().await, expected);
}

#[tokio::test]
async fn pass_that_deletes_nothing_keeps_its_lease() {
    let world = World::new().await;
    world.guard_rows().await;
    let team = world.team().await;
    let ids = world.insert_guarded(team, &["viewed"; 3]).await;
    let database = world.database();
    // One row fails, and the pass gives up; so no batch has passed.
    let report = run_with_short_lease(&world, &database, &TtlSweep).await;
    assert_eq!((report.deleted, report.batches), (0, 0), "{report:?}");
    // More teams than are read at once, none above the cap.
    world
        .sql(
            r"
                WITH made AS (INSERT INTO public.teams SELECT FROM generate_series(1, 501) RETURNING id)
                INSERT INTO public.snapshots (team_id, snapshot_type, data) SELECT id, 'offer', '{}' FROM made",
        )
        .await;
    let report = run_with_short_lease(&world, &database, &CapEviction { cap: 3, team: None }).await;
    assert_eq!((report.deleted, report.batches), (0, 0), "{report:?}");
    assert!(world.snapshots().await.is_superset(&ids.into_iter().collect()));
}

/// Runs a pass that gives up at the first row that cannot go, under a lease that ends before it would if nobody renewed it.
async fn run_with_short_lease<P: Pass>(world: &World, database: &Database, pass: &P) -> Report {
    let (holder, stop) = (Uuid::new_v4(), Stop::default());
    let lease = database.lease_acquire(pass.lease(), holder, None).await.unwrap().held().unwrap();
    let shortened: OffsetDateTime = sqlx::query_scalar(
        "UPDATE snapshot_lifecycle.lease SET expires_at = expires_at - interval '5 s' WHERE holder = $1 RETURNING expires_at",
    )
    .bind(holder)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let failing_at_most = std::time::Duration::ZERO;
    let context = PassContext { database, lease, rate: None, failing_at_most, stop: &stop, on_deleted: &|_| {} };
    let report = pass.run_once(&context, &mut Memory::default()).await.unwrap();
    let renewed: bool = sqlx::query_scalar("SELECT expires_at > $2 FROM snapshot_lifecycle.lease WHERE holder = $1")
        .bind(holder)
        .bind(shortened)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(renewed, "{report:?}");
    report
}

#[tokio::test]
async fn rows_of_one_instant_that_stay_hide_none_of_the_same_instant() {
    let world = World::new().await;
    let team = world.team().await;
    world.guard_rows().await;
    for at in ["-infinity", "2026-01-05Z", "0044-03-15 BC"] {
        world
            .sql(format!(
                r"
                    INSERT INTO public.snapshots (team_id, snapshot_type, data, expires_at)
                    SELECT '{team}', CASE WHEN n <= 12 THEN 'contract' ELSE 'offer' END, '{{}}', '{at}'
                    FROM generate_series(1, 15) AS n"
            ))
            .await;
    }
    world.insert(&Snapshot::of(team)).await;
    // A rate of five is a batch of five: fewer than are kept.
    let swept = world.run(&["sweep", "--delete-rate", "5", "--yes"]).await;
    assert_eq!((swept.code, swept.json()["deleted"].as_u64()), (1, Some(9)), "{swept:?}");
    assert_eq!(swept.json()["stayed"]["rows"], 36, "{swept:?}");
    assert_eq!(world.count("snapshot_type = 'offer' AND expires_at > now()").await, 1);
    assert_eq!(world.snapshots().await.len(), 37);
}
