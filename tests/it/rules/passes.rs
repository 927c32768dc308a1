//! The clockwork around the passes: lease, budget, failures.

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::passes::{Memory, Pass, PassContext, PassError, TtlSweep};
use snapshot_lifecycle::policy::PassName;
use snapshot_lifecycle::storage::{HeldLease, LeaseAttempt, LeaseName};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, World, eventually};

const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

const fn sweep(holder: Uuid) -> HeldLease<'static> {
    HeldLease { name: LeaseName::Pass(PassName::Ttl), holder }
}

async fn expired(world: &World, count: usize) {
    let (team, past) = (world.team().await, OffsetDateTime::now_utc() - Duration::HOUR);
    for _ in 0..count {
        world.insert(&Snapshot::of(team).expires_at(past)).await;
    }
}

#[tokio::test]
async fn one_at_a_time_holds_a_lease_and_it_ends_by_itself() {
    let world = World::new().await;
    let database = world.database();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap(),
        LeaseAttempt::Held(sweep(one))
    );
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap(),
        LeaseAttempt::Held(sweep(one))
    );
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, None).await.unwrap(),
        LeaseAttempt::HeldByAnother
    );
    let eviction = database.lease_acquire(LeaseName::Pass(PassName::Cap), two, None).await.unwrap();
    assert!(eviction.held().is_some(), "each pass has its own");
    // The holder dies and the time passes.
    world.sql("UPDATE snapshot_lifecycle.lease SET expires_at = now() - interval '1 second' WHERE name = 'ttl'").await;
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, None).await.unwrap(),
        LeaseAttempt::Held(sweep(two))
    );
    assert!(!database.lease_renew(sweep(one)).await.unwrap());
}

#[tokio::test]
async fn pass_that_ended_well_is_not_due_again_within_the_interval() {
    let world = World::new().await;
    let database = world.database();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap();
    database.lease_release(sweep(one), false).await.unwrap();
    let second = database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, Some(HOUR)).await.unwrap();
    assert!(second.held().is_some(), "the first failed");
    database.lease_release(sweep(two), true).await.unwrap();
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap(),
        LeaseAttempt::NotDue
    );
    world.sql("UPDATE snapshot_lifecycle.lease SET completed_at = now() - interval '2 hours'").await;
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap(),
        LeaseAttempt::Held(sweep(one))
    );
}

#[tokio::test]
async fn pass_whose_lease_went_to_another_deletes_nothing_more() {
    let world = World::new().await;
    expired(&world, 3).await;
    let database = world.database();
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), Uuid::new_v4(), None).await.unwrap();
    let stop = Stop::default();
    let context = PassContext {
        database: &database,
        lease: sweep(Uuid::new_v4()),
        rate: None,
        failing_at_most: HOUR,
        stop: &stop,
        on_deleted: &|_| {},
    };
    assert!(matches!(TtlSweep.run_once(&context, &mut Memory::default()).await, Err(PassError::LeaseLost)));
    assert_eq!(world.snapshots().await.len(), 3);
}

#[tokio::test]
async fn stopped_pass_says_so_and_leaves_the_rest() {
    let world = World::new().await;
    expired(&world, 3).await;
    let (database, holder, stop) = (world.database(), Uuid::new_v4(), Stop::default());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), holder, None).await.unwrap();
    // Two rows a second: batches of two, and a stop after the first.
    let context = PassContext {
        database: &database,
        lease: sweep(holder),
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
    expired(&world, 4).await;
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
    expired(&world, 1).await;
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
async fn host_can_see_which_rule_took_a_row() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE public.audit (rule TEXT);
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO public.audit VALUES (current_setting('snapshot_lifecycle.rule', true)); RETURN NULL; END $$;
             CREATE TRIGGER note AFTER DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.note();",
        )
        .await;
    expired(&world, 1).await;
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
async fn what_lies_in_the_future_after_a_step_of_the_databases_clock_delays_no_pass() {
    let world = World::new().await;
    expired(&world, 6).await;
    // As a server leaves it whose clock was an hour ahead of the one that took over.
    world
        .sql(
            "INSERT INTO snapshot_lifecycle.lease (name, holder, expires_at, completed_at) \
             SELECT name, gen_random_uuid(), now() + interval '1 hour', now() + interval '1 hour' FROM unnest(ARRAY['ttl', 'cap']) AS name;
             UPDATE snapshot_lifecycle.delete_budget SET free_at = now() + interval '1 hour'",
        )
        .await;
    let worker = world
        .worker_with(&[
            ("LIFECYCLE_SWEEP_INTERVAL", "200ms"),
            ("LIFECYCLE_EVICT_INTERVAL", "200ms"),
            ("LIFECYCLE_DELETE_RATE", "1000"),
        ])
        .await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 6.0).await;
    worker.reaches("pass_seconds_count{rule=\"cap\"}", 2.0).await;
    let stepped = "the database's clock has stepped back: the lease or the end of the last pass lay in the future, and was not waited for";
    assert_eq!(worker.logged(stepped).len(), 2, "each is found once: {}", worker.log_text());
    let budget = "the database's clock has stepped back: the delete budget lay in the future, and was set back to now";
    assert_eq!(worker.logged(budget).len(), 1, "{}", worker.log_text());
    // In a running worker a pass that is not the first asks when the last one ended.
    world
        .sql(
            "UPDATE snapshot_lifecycle.lease SET completed_at = now() + interval '1 hour' WHERE name IN ('ttl', 'cap')",
        )
        .await;
    eventually("both passes to be found due again", async || {
        let ahead: i64 = sqlx::query_scalar("SELECT count(*) FROM snapshot_lifecycle.lease WHERE completed_at > now()")
            .fetch_one(&world.pool)
            .await
            .unwrap();
        ahead == 0
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn pass_that_completed_in_the_future_is_forgotten_by_the_next_one() {
    let world = World::new().await;
    let (database, one, two) = (world.database(), Uuid::new_v4(), Uuid::new_v4());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap();
    database.lease_release(sweep(one), true).await.unwrap();
    let ahead =
        "UPDATE snapshot_lifecycle.lease SET completed_at = clock_timestamp() + interval '1 s' RETURNING completed_at";
    let ahead: OffsetDateTime = sqlx::query_scalar(ahead).fetch_one(&world.pool).await.unwrap();
    // Due at once, and it does not complete.
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, Some(HOUR)).await.unwrap(),
        LeaseAttempt::Held(sweep(two))
    );
    database.lease_release(sweep(two), false).await.unwrap();
    // The clock comes to the moment that was ahead: believed now, it would keep every pass back for an interval.
    eventually("the moment to have passed", async || {
        sqlx::query_scalar("SELECT clock_timestamp() > $1").bind(ahead).fetch_one(&world.pool).await.unwrap()
    })
    .await;
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap(),
        LeaseAttempt::Held(sweep(one))
    );
}

#[tokio::test]
async fn lease_that_ran_out_is_still_its_holders_until_another_takes_it() {
    let world = World::new().await;
    let (database, one, two) = (world.database(), Uuid::new_v4(), Uuid::new_v4());
    let run_out = "UPDATE snapshot_lifecycle.lease SET expires_at = clock_timestamp() - interval '1 s'";
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap();
    world.sql(run_out).await;
    assert!(database.lease_renew(sweep(one)).await.unwrap());
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, None).await.unwrap(),
        LeaseAttempt::HeldByAnother
    );
    world.sql(run_out).await;
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, None).await.unwrap();
    assert!(!database.lease_renew(sweep(one)).await.unwrap());
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
async fn renewing_lengthens_the_lease_by_itself_and_with_each_batch() {
    let world = World::new().await;
    let (database, holder) = (world.database(), Uuid::new_v4());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), holder, None).await.unwrap();
    let nearly_over = "UPDATE snapshot_lifecycle.lease SET expires_at = clock_timestamp() + interval '5 seconds'";
    let left = async || -> f64 {
        let left = "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM snapshot_lifecycle.lease WHERE name = 'ttl'";
        sqlx::query_scalar(left).fetch_one(&world.pool).await.unwrap()
    };
    world.sql(nearly_over).await;
    assert!(database.lease_renew(sweep(holder)).await.unwrap());
    assert!(left().await > 10.0);
    world.sql(nearly_over).await;
    let cutoff = database.ttl_cutoff().await.unwrap();
    assert!(database.ttl_delete_batch(sweep(holder), None, cutoff, 1, None).await.unwrap().is_some());
    assert!(left().await > 10.0);
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
    expired(&world, 2).await;
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
