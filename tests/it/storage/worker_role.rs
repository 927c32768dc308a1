//! The worker's own role, as the shipped script makes it: what it can do, and what it may not.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use time::OffsetDateTime;

use crate::support::{Snapshot, World, body, set};

/// Supabase's `postgres` is no superuser, and is refused these, even to take such an attribute away.
#[test]
fn role_script_alters_no_role_and_names_no_attribute_of_superusers() {
    let script = include_str!("../../../deploy/sql/worker-role.sql").to_uppercase();
    let code: String = script.lines().map(|line| line.split("--").next().unwrap().to_owned() + "\n").collect();
    assert!(code.contains("CREATE ROLE SNAPSHOT_LIFECYCLE_WORKER LOGIN NOINHERIT PASSWORD"), "{code}");
    for refused in ["ALTER ROLE", "ALTER USER", "SUPERUSER", "REPLICATION", "BYPASSRLS"] {
        assert!(!code.contains(refused), "{refused}");
    }
}

#[tokio::test]
async fn role_script_may_be_run_again_and_on_the_servers_next_database() {
    let (world, next) = (World::new().await, World::new().await);
    let role = world.worker_role();
    world
        .sql(format!(
            "REVOKE SELECT ON snapshot_lifecycle.outbox FROM {role}; DROP POLICY {role}_lock ON public.snapshots"
        ))
        .await;
    world.run_role_script(&role);
    next.run_role_script(&role);
    for world in [&world, &next] {
        let mut command = world.program(&["sweep"]);
        command.env("DATABASE_URL", world.url_as(&role));
        let swept = crate::support::finish(command);
        assert_eq!(swept.code, 0, "{swept:?}");
        world.sql(format!("DROP OWNED BY {role}")).await;
    }
    world.sql(format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn shipped_role_does_the_whole_job_and_nothing_else() {
    let world = World::new().await;
    let role = world.worker_role();
    let url = world.url_as(&role);
    let (team, other, event) = (world.team().await, world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    let ids = world.insert_many(other, 4).await;
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("LIFECYCLE_SWEEP_INTERVAL", "200ms"),
        ("LIFECYCLE_EVICT_INTERVAL", "200ms"),
        ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "3"),
        ("LIFECYCLE_DELETE_RATE", "1000"),
    ];
    let worker = world.worker_with(&variables).await;
    world.publish_raw(&[body(event, "confirmed", OffsetDateTime::now_utc())]).await;
    worker.reaches("snapshots_deleted_total{rule=\"event_end\"}", 1.0).await;
    worker.reaches("snapshots_deleted_total{rule=\"ttl\"}", 1.0).await;
    worker.reaches("snapshots_deleted_total{rule=\"cap\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([ids[1], ids[2], ids[3]]));
    worker.stop().await;

    world.sql("CREATE SCHEMA backends_own; CREATE TABLE backends_own.notes (id INT)").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    // With the backend's own setting the backend's policy permits what ours does not; the restrictive one must still refuse.
    sqlx::raw_sql(AssertSqlSafe(format!("SET app.current_team_id = '{other}'")))
        .execute(&mut connection)
        .await
        .unwrap();
    for forbidden in [
        format!("INSERT INTO public.snapshots (team_id, snapshot_type, data) VALUES ('{team}', 'offer', '{{}}')"),
        "UPDATE public.snapshots SET data = '{}'".to_owned(),
        "UPDATE public.snapshots SET id = gen_random_uuid()".to_owned(),
        "TRUNCATE public.snapshots".to_owned(),
        "SELECT * FROM public.events".to_owned(),
        "SELECT * FROM backends_own.notes".to_owned(),
        "DELETE FROM snapshot_lifecycle.lease".to_owned(),
        "INSERT INTO snapshot_lifecycle.outbox (event_id, status) VALUES (gen_random_uuid(), 'confirmed')".to_owned(),
        "CREATE SCHEMA mine".to_owned(),
        "SELECT * FROM public.teams".to_owned(),
        "DELETE FROM public.events".to_owned(),
        "UPDATE snapshot_lifecycle.retention SET keep_after_event = false".to_owned(),
        "DELETE FROM snapshot_lifecycle.migrations".to_owned(),
        "CREATE TABLE public.mine (id INT)".to_owned(),
        "CREATE TABLE snapshot_lifecycle.mine (id INT)".to_owned(),
        "ALTER TABLE public.snapshots DISABLE ROW LEVEL SECURITY".to_owned(),
    ] {
        let tried = sqlx::raw_sql(AssertSqlSafe(forbidden.clone())).execute(&mut connection).await;
        assert!(tried.is_err(), "the role may: {forbidden}");
    }
    connection.close().await.unwrap();
    world.drop_role(&role).await;
}
