//! Rows that cannot be deleted, or only slowly: a pass leaves them, says which, and takes all others.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::support::{Snapshot, World, eventually, guarded_types, set};

fn of_other_types(ids: &[Uuid], kinds: &[&str]) -> BTreeSet<Uuid> {
    ids.iter().zip(kinds).filter(|(_, kind)| **kind != "offer").map(|(id, _)| *id).collect()
}

#[tokio::test]
async fn sweep_leaves_each_row_that_cannot_go_and_takes_all_others() {
    let world = World::new().await;
    let team = world.team().await;
    world.guard_rows().await;
    let kinds = guarded_types();
    let ids = world.insert_guarded(team, &kinds).await;
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
    world.guard_rows().await;
    let kinds = guarded_types();
    let (mut expected, mut evictable) = (BTreeSet::new(), 0);
    for _ in 0..2 {
        let team = world.team().await;
        let ids = world.insert_guarded(team, &kinds).await;
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
    world.guard_rows().await;
    let kinds = ["viewed", "offer", "contract", "offer"];
    let ids = world.insert_guarded(team, &kinds).await;
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
async fn what_stops_every_delete_is_no_rows_fault() {
    let world = World::new().await;
    let team = world.team().await;
    world.insert_guarded(team, &["offer"; 20]).await;
    // What looks like an outage, and what looks like a row's fault.
    for code in ["53100", "P0001"] {
        world
            .sql(format!(
                r"
                    CREATE OR REPLACE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS
                        $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '{code}'; END $$;
                    CREATE OR REPLACE TRIGGER full_disk BEFORE DELETE ON public.snapshots
                        FOR EACH STATEMENT EXECUTE FUNCTION public.full();",
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
        world.guard_rows().await;
    }
    let alive = each.insert_many(each.team().await, 2).await;
    each.insert_guarded(each.team().await, &["album"; 9]).await;
    let team = each.team().await;
    let newest = each.insert_many(team, 2).await;
    each.sql(format!(
        r"
            INSERT INTO public.snapshots (team_id, snapshot_type, data, created_at)
            SELECT '{team}', 'album', '{{}}', now() - interval '2 days' FROM generate_series(1, 9)"
    ))
    .await;
    let mut kinds = ["offer"; 40];
    kinds[29] = "slow";
    let ids = one.insert_guarded(one.team().await, &kinds).await;
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
