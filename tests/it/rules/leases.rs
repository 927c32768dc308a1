//! One pass at a time in the fleet: its lease, and when it is due again.

use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::passes::{Memory, Pass, PassContext, PassError, TtlSweep};
use snapshot_lifecycle::policy::PassName;
use snapshot_lifecycle::storage::{LeaseAttempt, LeaseName};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{HOUR, World, eventually, ttl_lease};

#[tokio::test]
async fn one_at_a_time_holds_a_lease_and_it_runs_out() {
    let world = World::new().await;
    let database = world.database();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap(),
        LeaseAttempt::Held(ttl_lease(one))
    );
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap(),
        LeaseAttempt::Held(ttl_lease(one))
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
        LeaseAttempt::TakenOver(ttl_lease(two))
    );
    assert!(!database.lease_renew(ttl_lease(one)).await.unwrap());
    database.lease_release(ttl_lease(two), false).await.unwrap();
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap(),
        LeaseAttempt::Held(ttl_lease(one)),
        "it was released"
    );
}

#[tokio::test]
async fn pass_that_ended_well_is_not_due_again_within_the_interval() {
    let world = World::new().await;
    let database = world.database();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap();
    database.lease_release(ttl_lease(one), false).await.unwrap();
    let second = database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, Some(HOUR)).await.unwrap();
    assert!(second.held().is_some(), "the first failed");
    database.lease_release(ttl_lease(two), true).await.unwrap();
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap(),
        LeaseAttempt::NotDue
    );
    world.sql("UPDATE snapshot_lifecycle.lease SET completed_at = now() - interval '2 hours'").await;
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap(),
        LeaseAttempt::Held(ttl_lease(one))
    );
}

#[tokio::test]
async fn pass_whose_lease_went_to_another_deletes_nothing_more() {
    let world = World::new().await;
    world.insert_expired(3).await;
    let database = world.database();
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), Uuid::new_v4(), None).await.unwrap();
    let stop = Stop::default();
    let context = PassContext {
        database: &database,
        lease: ttl_lease(Uuid::new_v4()),
        rate: None,
        failing_at_most: HOUR,
        stop: &stop,
        on_deleted: &|_| {},
    };
    assert!(matches!(TtlSweep.run_once(&context, &mut Memory::default()).await, Err(PassError::LeaseLost)));
    assert_eq!(world.snapshots().await.len(), 3);
}

#[tokio::test]
async fn what_lies_in_the_future_after_a_step_of_the_databases_clock_delays_no_pass() {
    let world = World::new().await;
    world.insert_expired(6).await;
    // As a server leaves it whose clock was an hour ahead of the one that took over.
    world
        .sql(
            r"
                INSERT INTO snapshot_lifecycle.lease (name, holder, expires_at, completed_at)
                SELECT name, gen_random_uuid(), now() + interval '1 hour', now() + interval '1 hour'
                FROM unnest(ARRAY['ttl', 'cap']) AS name;
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
    database.lease_release(ttl_lease(one), true).await.unwrap();
    let ahead =
        "UPDATE snapshot_lifecycle.lease SET completed_at = clock_timestamp() + interval '1 s' RETURNING completed_at";
    let ahead: OffsetDateTime = sqlx::query_scalar(ahead).fetch_one(&world.pool).await.unwrap();
    // Due at once, and it does not complete.
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, Some(HOUR)).await.unwrap(),
        LeaseAttempt::Held(ttl_lease(two))
    );
    database.lease_release(ttl_lease(two), false).await.unwrap();
    // The clock comes to the moment that was ahead: believed now, it would keep every pass back for an interval.
    eventually("the moment to have passed", async || {
        sqlx::query_scalar("SELECT clock_timestamp() > $1").bind(ahead).fetch_one(&world.pool).await.unwrap()
    })
    .await;
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, Some(HOUR)).await.unwrap(),
        LeaseAttempt::Held(ttl_lease(one))
    );
}

#[tokio::test]
async fn lease_that_ran_out_is_still_its_holders_until_another_takes_it() {
    let world = World::new().await;
    let (database, one, two) = (world.database(), Uuid::new_v4(), Uuid::new_v4());
    let run_out = "UPDATE snapshot_lifecycle.lease SET expires_at = clock_timestamp() - interval '1 s'";
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), one, None).await.unwrap();
    world.sql(run_out).await;
    assert!(database.lease_renew(ttl_lease(one)).await.unwrap());
    assert_eq!(
        database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, None).await.unwrap(),
        LeaseAttempt::HeldByAnother
    );
    world.sql(run_out).await;
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), two, None).await.unwrap();
    assert!(!database.lease_renew(ttl_lease(one)).await.unwrap());
}

#[tokio::test]
async fn renewing_lengthens_the_lease_on_its_own_and_with_each_batch() {
    let world = World::new().await;
    let (database, holder) = (world.database(), Uuid::new_v4());
    database.lease_acquire(LeaseName::Pass(PassName::Ttl), holder, None).await.unwrap();
    let nearly_over = "UPDATE snapshot_lifecycle.lease SET expires_at = clock_timestamp() + interval '5 seconds'";
    let left = async || -> f64 {
        let left = "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM snapshot_lifecycle.lease WHERE name = 'ttl'";
        sqlx::query_scalar(left).fetch_one(&world.pool).await.unwrap()
    };
    world.sql(nearly_over).await;
    assert!(database.lease_renew(ttl_lease(holder)).await.unwrap());
    assert!(left().await > 10.0);
    world.sql(nearly_over).await;
    let cutoff = database.ttl_cutoff().await.unwrap();
    assert!(database.ttl_delete_batch(ttl_lease(holder), None, cutoff, 1, None).await.unwrap().is_some());
    assert!(left().await > 10.0);
}
