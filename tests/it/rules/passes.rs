//! A pass: its budget of deletes, its failures, its report.

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::passes::{Memory, Pass, PassContext, TtlSweep};
use snapshot_lifecycle::policy::PassName;
use snapshot_lifecycle::storage::LeaseName;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{HOUR, Snapshot, World, eventually, ttl_lease};

#[tokio::test]
async fn stopped_pass_says_so_and_leaves_the_rest() {
    let world = World::new().await;
    world.insert_expired(3).await;
    let (database, holder, stop) = (world.database(), Uuid::new_v4(), Stop::default());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), holder, None).await.unwrap();
    // Two rows a second: batches of two, and a stop after the first.
    let context = PassContext {
        database: &database,
        lease: ttl_lease(holder),
        rate: Some(2),
        failing_at_most: HOUR,
        stop: &stop,
        on_deleted: &|_| stop.soft.cancel(),
    };
    let report = TtlSweep.run_once(&context, &mut Memory::default()).await.unwrap();
    assert_eq!((report.deleted, report.batches, report.completed), (2, 1, false));
    assert_eq!(world.snapshots().await.len(), 1);
}

#[tokio::test]
async fn deleted_rows_are_paid_for_out_of_one_budget() {
    let world = World::new().await;
    world.insert_expired(4).await;
    world.insert_many(world.team().await, 12).await;
    let before: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
    let swept = world.run(&["sweep", "--yes", "--delete-rate", "4"]).await;
    assert_eq!(swept.json()["deleted"].as_u64(), Some(4), "{swept:?}");
    let evicted = world.run(&["evict", "--yes", "--delete-rate", "4", "--max-snapshots-per-team", "8"]).await;
    assert_eq!(evicted.json()["deleted"].as_u64(), Some(4), "{evicted:?}");
    // Eight rows at four a second move the moment of the next free delete by two seconds from when the first began.
    let free_at: OffsetDateTime = sqlx::query_scalar("SELECT free_at FROM snapshot_lifecycle.delete_budget")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(free_at - before >= Duration::SECOND * 2, "{}", free_at - before);
    let after: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
    assert!(free_at - after <= Duration::SECOND, "and not by more: {}", free_at - after);
}

#[tokio::test]
async fn failing_pass_is_tried_again_and_takes_nobody_down() {
    let world = World::new().await;
    world.insert_expired(1).await;
    world.refuse_deletes().await;
    let worker = world.worker_with(&[("LIFECYCLE_SWEEP_INTERVAL", "100ms")]).await;
    eventually("two failed passes", async || {
        worker.logged("rows could not be deleted; trying again at the next interval").len() >= 2
    })
    .await;
    assert_eq!(worker.get("/readyz").0, 200);
    world.sql("DROP TRIGGER refuse ON public.snapshots").await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn backend_can_see_which_rule_took_a_row() {
    let world = World::new().await;
    world
        .sql(
            r"
                CREATE TABLE public.audit (rule TEXT);
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO public.audit VALUES (current_setting('snapshot_lifecycle.rule', true));
                    RETURN NULL;
                END $$;
                CREATE TRIGGER note AFTER DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.note();",
        )
        .await;
    world.insert_expired(1).await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    assert_eq!(world.run(&["sweep", "--yes"]).await.code, 0);
    assert_eq!(world.run(&["delete-event", &event.to_string(), "--yes"]).await.code, 0);
    world.insert_many(team, 2).await;
    assert_eq!(world.run(&["evict", "--yes", "--max-snapshots-per-team", "1"]).await.code, 0);
    let rules: Vec<String> =
        sqlx::query_scalar("SELECT rule FROM public.audit ORDER BY rule").fetch_all(&world.pool).await.unwrap();
    assert_eq!(rules, ["cap", "event_end", "ttl"]);
}

#[tokio::test]
async fn budget_without_an_end_is_set_back_too() {
    let world = World::new().await;
    for at in ["infinity", "-infinity", "294276-12-31"] {
        world.sql(format!("UPDATE snapshot_lifecycle.delete_budget SET free_at = '{at}'")).await;
        assert!(world.database().delete_budget_wait().await.unwrap().is_zero(), "{at}");
    }
}

#[tokio::test]
async fn eviction_of_one_team_does_not_count_as_the_fleets() {
    let world = World::new().await;
    let (team, other) = (world.team().await, world.team().await);
    for team in [team, other] {
        world.insert_many(team, 4).await;
    }
    let completed = async || -> i64 {
        let completed = "SELECT count(completed_at) FROM snapshot_lifecycle.lease WHERE name = 'cap'";
        sqlx::query_scalar(completed).fetch_one(&world.pool).await.unwrap()
    };
    let evict = ["evict", "--yes", "--max-snapshots-per-team", "3"];
    let evicted = world.run(&[&evict[..], &["--team", &team.to_string()]].concat()).await;
    assert_eq!((evicted.code, evicted.json()["deleted"].as_u64()), (0, Some(1)), "{evicted:?}");
    assert_eq!(completed().await, 0);
    let evicted = world.run(&evict).await;
    assert_eq!((evicted.code, evicted.json()["deleted"].as_u64()), (0, Some(1)), "{evicted:?}");
    assert_eq!(completed().await, 1);
}

#[tokio::test]
async fn previews_and_deeds_of_both_passes_have_one_shape() {
    let world = World::new().await;
    world.insert_expired(2).await;
    world.insert_many(world.team().await, 3).await;
    for arguments in [&["sweep"][..], &["evict", "--max-snapshots-per-team", "1"]] {
        let preview = world.run(arguments).await.json();
        let rows = preview["would_delete"].as_u64().unwrap();
        assert!(rows >= 2, "{preview}");
        assert_eq!((preview["dry_run"].as_bool(), preview["deleted"].as_u64()), (Some(true), Some(0)), "{preview}");
        assert!(preview.get("completed").is_none() && preview.get("stayed").is_none(), "{preview}");
        let done = world.run(&[arguments, &["--yes"]].concat()).await.json();
        assert_eq!((done["dry_run"].as_bool(), done["completed"].as_bool()), (Some(false), Some(true)), "{done}");
        assert_eq!((done["would_delete"].as_u64(), done["deleted"].as_u64()), (Some(rows), Some(rows)), "{done}");
    }
}
