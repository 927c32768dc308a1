//! Rows that cannot be deleted, or only slowly: they cost a sweep or an eviction themselves and nothing else.

use std::collections::BTreeSet;

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::passes::{CapEviction, Memory, Pass, PassContext, Report, TtlSweep};
use snapshot_lifecycle::storage::Database;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, World, eventually, set};

/// What a trigger of the backend may raise: an exception, and what looks like an outage, a conflict, a time-out.
const RAISED: [&str; 9] = ["P0001", "08006", "40001", "40P01", "53100", "57014", "57P01", "58030", "XX000"];
/// Raises where the type is a SQLSTATE, keeps a `contract`, takes six seconds for a `slow` one, and 0.6 s for an `album`.
const TRIGGER: &str = "
    CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        CASE OLD.snapshot_type
            WHEN 'contract' THEN RETURN NULL;
            WHEN 'slow' THEN PERFORM pg_sleep(6);
            WHEN 'album' THEN PERFORM pg_sleep(0.6);
            WHEN 'offer', 'viewed' THEN NULL;
            ELSE RAISE EXCEPTION 'not this one' USING ERRCODE = OLD.snapshot_type;
        END CASE;
        RETURN OLD;
    END $$;
    CREATE TRIGGER guard BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.guard();
    CREATE TABLE public.page_views (snapshot_id UUID NOT NULL REFERENCES public.snapshots (id));";
const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

/// Rows in the order of their age, each of the given type, all expired.
async fn rows(world: &World, team: Uuid, kinds: &[&'static str]) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (n, kind) in (0..).zip(kinds) {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(n);
        let id = world.insert(&Snapshot::of(team).kind(kind).created_at(at).expires_at(at)).await;
        if *kind == "viewed" {
            world.sql(format!("INSERT INTO public.page_views VALUES ('{id}')")).await;
        }
        ids.push(id);
    }
    ids
}

/// Every kind of trouble between rows without.
fn troubled() -> Vec<&'static str> {
    RAISED.into_iter().chain(["viewed", "contract"]).flat_map(|kind| ["offer", kind, "offer", "offer"]).collect()
}

fn of_other_types(ids: &[Uuid], kinds: &[&str]) -> BTreeSet<Uuid> {
    ids.iter().zip(kinds).filter(|(_, kind)| **kind != "offer").map(|(id, _)| *id).collect()
}

async fn run<P: Pass>(
    database: &Database,
    pass: &P,
    failing_at_most: std::time::Duration,
    memory: &mut Memory<P::Place>,
) -> Report {
    let (holder, stop) = (Uuid::new_v4(), Stop::default());
    let lease = database.lease_acquire(pass.lease(), holder, None).await.unwrap().held().unwrap();
    let context = PassContext { database, lease, rate: None, failing_at_most, stop: &stop, on_deleted: &|_| {} };
    let report = pass.run_once(&context, memory).await.unwrap();
    database.lease_release(lease, false).await.unwrap();
    report
}

#[tokio::test]
async fn sweep_leaves_each_row_that_cannot_go_and_takes_all_others() {
    let world = World::new().await;
    let team = world.team().await;
    world.sql(TRIGGER).await;
    let kinds = troubled();
    let ids = rows(&world, team, &kinds).await;
    let mut expected = of_other_types(&ids, &kinds);
    let swept = world.run(&["sweep", "--yes"]).await;
    assert_eq!((swept.code, swept.json()["deleted"].as_u64()), (1, Some(33)), "{swept:?}");
    assert_eq!(world.snapshots().await, expected);
    let stayed = &swept.json()["stayed"];
    assert_eq!((stayed["rows"].as_u64(), stayed["ids"].as_array().map(Vec::len)), (Some(11), Some(5)), "{swept:?}");
    assert_eq!(swept.json()["completed"], false);
    let completed: i64 =
        sqlx::query_scalar("SELECT count(completed_at) FROM snapshot_lifecycle.lease WHERE name = 'ttl'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(completed, 0, "a pass that left rows behind does not count as done");
    assert!(
        swept.stderr.contains("11 rows stayed, such as") && swept.stderr.contains(&ids[1].to_string()),
        "{swept:?}"
    );
    assert!(swept.stderr.contains("not this one"), "{swept:?}");
    // Whatever made them stay is gone.
    world.sql("DROP TRIGGER guard ON public.snapshots; DROP TABLE public.page_views").await;
    let alive = world.insert(&Snapshot::of(team)).await;
    let swept = world.run(&["sweep", "--yes"]).await;
    assert_eq!((swept.code, swept.json()["completed"].as_bool()), (0, Some(true)), "{swept:?}");
    expected = set([alive]);
    assert_eq!(world.snapshots().await, expected);
}

#[tokio::test]
async fn eviction_leaves_each_row_that_cannot_go_and_goes_on_to_the_next_team() {
    let world = World::new().await;
    world.sql(TRIGGER).await;
    let kinds = troubled();
    let (mut expected, mut evictable) = (BTreeSet::new(), 0);
    for _ in 0..2 {
        let team = world.team().await;
        let ids = rows(&world, team, &kinds).await;
        expected.extend(of_other_types(&ids, &kinds));
        expected.extend(world.insert_many(team, 3).await);
        evictable += 33;
    }
    let ids = world.insert_many(world.team().await, 5).await;
    expected.extend(&ids[2..]);
    evictable += 2;
    let evicted = world.run(&["evict", "--yes", "--max-snapshots-per-team", "3"]).await;
    assert_eq!((evicted.code, evicted.json()["deleted"].as_u64()), (1, Some(evictable)), "{evicted:?}");
    assert_eq!(evicted.json()["stayed"]["rows"], 22, "{evicted:?}");
    assert_eq!(world.snapshots().await, expected);
}

#[tokio::test]
async fn workers_sweep_and_evict_beside_rows_that_cannot_go_and_say_which() {
    let world = World::new().await;
    let team = world.team().await;
    world.sql(TRIGGER).await;
    let kinds = ["viewed", "offer", "contract", "offer"];
    let ids = rows(&world, team, &kinds).await;
    let newest = world.insert_many(team, 4).await;
    let worker = world
        .worker_with(&[
            ("LIFECYCLE_SWEEP_INTERVAL", "200ms"),
            ("LIFECYCLE_EVICT_INTERVAL", "200ms"),
            ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "2"),
        ])
        .await;
    let gone = async || world.snapshots().await == set([ids[0], ids[2], newest[2], newest[3]]);
    eventually("all others to be gone", gone).await;
    let said = "rows could not be deleted; trying again at the next interval";
    eventually("both rules to say what stayed", async || {
        ["ttl", "cap"].iter().all(|rule| {
            worker.logged(said).iter().any(|line| {
                line["rule"] == *rule
                    && line["stayed"] == 2
                    && line["error"].as_str().unwrap().contains(&ids[0].to_string())
            })
        })
    })
    .await;
    assert_eq!(worker.get("/readyz").0, 200);
    worker.stop().await;
}

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

/// Sweeps so many rows, of which some are referred to and stay. Returns how many transactions that took.
async fn sweep_among(rows: usize, is_troubled: impl Fn(usize) -> bool) -> i64 {
    let world = World::new().await;
    let team = world.team().await;
    world.sql(TRIGGER).await;
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
    let report = run(&database, &TtlSweep, HOUR, &mut Memory::default()).await;
    database.close().await;
    let spent = transactions(&world).await - before;
    assert_eq!((report.deleted, report.stayed.unwrap().rows), ((rows - troubled.len()) as u64, troubled.len() as u64));
    assert_eq!(world.snapshots().await, troubled);
    let least = i64::try_from(report.batches).unwrap();
    assert!(spent > least, "{spent} transactions counted, of {least} that passed alone");
    spent
}

/// Of the whole database, as the statistics have it. A session tells them at its end at the latest, so the worker's have to be over; ours
/// is told to.
async fn transactions(world: &World) -> i64 {
    eventually("the program's sessions to be over", async || {
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'snapshot-lifecycle'",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        left == 0
    })
    .await;
    let mut connection = world.pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    sqlx::query_scalar("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&mut *connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn rows_that_take_too_much_of_a_pass_hide_none_behind_them_from_the_next() {
    let world = World::new().await;
    world.sql(TRIGGER).await;
    let team = world.team().await;
    let kinds = ["viewed", "P0001", "viewed", "offer", "offer"];
    let ids = rows(&world, team, &kinds).await;
    let alive = world.insert_many(team, 2).await;
    let (database, mut memory) = (world.database(), Memory::default());
    // As long as nothing at all: each pass steps over one row.
    let reports = [
        run(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
        run(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
        run(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
        run(&database, &TtlSweep, std::time::Duration::ZERO, &mut memory).await,
    ];
    assert!(reports.iter().all(|report| report.stayed.as_ref().is_some_and(|stayed| stayed.unfinished)), "{reports:?}");
    let mut expected = set([ids[0], ids[1], ids[2], alive[0], alive[1]]);
    assert_eq!(world.snapshots().await, expected, "{reports:?}");

    // The same above the cap, with two more teams.
    for _ in 0..2 {
        let other = world.team().await;
        let others = rows(&world, other, &kinds).await;
        let newest = world.insert_many(other, 2).await;
        expected.extend([others[0], others[1], others[2], newest[0], newest[1]]);
    }
    let (pass, mut memory) = (CapEviction { cap: 2, team: None }, Memory::default());
    for _ in 0..12 {
        let report = run(&database, &pass, std::time::Duration::ZERO, &mut memory).await;
        let stayed = report.stayed.unwrap();
        assert!(!report.completed && stayed.rows == 1 && stayed.unfinished, "{stayed:?}");
    }
    assert_eq!(world.snapshots().await, expected);
}

#[tokio::test]
async fn pass_that_deletes_nothing_keeps_its_lease() {
    let world = World::new().await;
    world.sql(TRIGGER).await;
    let team = world.team().await;
    let ids = rows(&world, team, &["viewed"; 3]).await;
    let database = world.database();
    // One row fails, and the pass gives up; so no batch has passed.
    let report = run_with_short_lease(&world, &database, &TtlSweep).await;
    assert_eq!((report.deleted, report.batches), (0, 0), "{report:?}");
    // More teams than one look sees, none above the cap.
    world
        .sql(
            "WITH made AS (INSERT INTO public.teams SELECT FROM generate_series(1, 501) RETURNING id)
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
    world.sql(TRIGGER).await;
    for at in ["-infinity", "2026-01-05Z", "0044-03-15 BC"] {
        world
            .sql(format!(
                "INSERT INTO public.snapshots (team_id, snapshot_type, data, expires_at) \
                 SELECT '{team}', CASE WHEN n <= 12 THEN 'contract' ELSE 'offer' END, '{{}}', '{at}' FROM generate_series(1, 15) AS n"
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

#[tokio::test]
async fn what_stops_every_delete_is_no_rows_fault() {
    let world = World::new().await;
    let team = world.team().await;
    rows(&world, team, &["offer"; 20]).await;
    // What looks like an outage, and what looks like a row's fault.
    for code in ["53100", "P0001"] {
        world
            .sql(format!(
                "CREATE OR REPLACE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '{code}'; END $$;
                 CREATE OR REPLACE TRIGGER full_disk BEFORE DELETE ON public.snapshots FOR EACH STATEMENT EXECUTE FUNCTION public.full();",
            ))
            .await;
        for arguments in [&["sweep", "--yes"][..], &["evict", "--yes", "--max-snapshots-per-team", "5"]] {
            let failed = world.run(arguments).await;
            assert_eq!((failed.code, failed.stdout.as_str()), (1, ""), "{failed:?}");
            assert!(failed.stderr.contains("disk full") && !failed.stderr.contains("stayed"), "{failed:?}");
        }
    }
    assert_eq!(world.snapshots().await.len(), 20);
}

#[tokio::test]
async fn slow_rows_go_one_by_one_and_one_that_takes_too_long_stays_alone() {
    let (each, one) = (World::new().await, World::new().await);
    for world in [&each, &one] {
        world.sql(TRIGGER).await;
    }
    let alive = each.insert_many(each.team().await, 2).await;
    rows(&each, each.team().await, &["album"; 9]).await;
    let team = each.team().await;
    let newest = each.insert_many(team, 2).await;
    each.sql(format!(
        "INSERT INTO public.snapshots (team_id, snapshot_type, data, created_at) \
         SELECT '{team}', 'album', '{{}}', now() - interval '2 days' FROM generate_series(1, 9)"
    ))
    .await;
    let mut kinds = ["offer"; 40];
    kinds[29] = "slow";
    let ids = rows(&one, one.team().await, &kinds).await;
    let team = team.to_string();
    let evict = ["evict", "--team", &team, "--yes", "--max-snapshots-per-team", "2"];
    let sweep = ["sweep", "--yes"];
    let (swept, evicted, stepped) = tokio::join!(each.run(&sweep), each.run(&evict), one.run(&sweep));
    assert_eq!((swept.code, swept.json()["deleted"].as_u64()), (0, Some(9)), "{swept:?}");
    assert_eq!((evicted.code, evicted.json()["deleted"].as_u64()), (0, Some(9)), "{evicted:?}");
    assert_eq!(each.snapshots().await, set([alive[0], alive[1], newest[0], newest[1]]));
    assert_eq!((stepped.code, stepped.json()["deleted"].as_u64()), (1, Some(39)), "{stepped:?}");
    assert!(stepped.stderr.contains("one row takes longer than 5 s to delete"), "{stepped:?}");
    assert_eq!(one.snapshots().await, set([ids[29]]));
}
