//! Roles: what the worker refuses, and what its own role may not do.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Snapshot, World, as_user, body, eventually, set};

/// Roles belong to the whole server, so each test has one of its own, made by the shipped script under another name.
pub async fn worker_role(world: &World) -> String {
    let role = format!("worker_{}", Uuid::new_v4().simple());
    run_role_script(world, &role);
    role
}

/// By psql, as its head says.
fn run_role_script(world: &World, role: &str) {
    let script = include_str!("../../../deploy/sql/worker-role.sql").replace("snapshot_lifecycle_worker", role);
    let file = std::env::temp_dir().join(format!("{role}.sql"));
    std::fs::write(&file, script).unwrap();
    let mut psql = std::process::Command::new("psql");
    psql.args([&world.database_url, "--no-psqlrc", "--quiet", "--set", "password=secret", "--file"]).arg(&file);
    let done = psql.output().expect("psql can be run");
    std::fs::remove_file(&file).ok();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn role_script_may_be_run_again_and_on_the_servers_next_database() {
    let (world, next) = (World::new().await, World::new().await);
    let role = worker_role(&world).await;
    world
        .sql(format!(
            "REVOKE SELECT ON snapshot_lifecycle.outbox FROM {role}; DROP POLICY {role}_lock ON public.snapshots"
        ))
        .await;
    run_role_script(&world, &role);
    run_role_script(&next, &role);
    for world in [&world, &next] {
        let mut command = world.program(&["sweep"]);
        command.env("DATABASE_URL", url_of(world, &role));
        let swept = crate::support::finish(command);
        assert_eq!(swept.code, 0, "{swept:?}");
        world.sql(format!("DROP OWNED BY {role}")).await;
    }
    world.sql(format!("DROP ROLE {role}")).await;
}

pub fn url_of(world: &World, role: &str) -> String {
    as_user(&world.database_url, role, "secret")
}

pub async fn drop_role(world: &World, role: &str) {
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn shipped_role_does_the_whole_job_and_nothing_else() {
    let world = World::new().await;
    let role = worker_role(&world).await;
    let url = url_of(&world, &role);
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

    world.sql("CREATE SCHEMA hosts_own; CREATE TABLE hosts_own.letters (id INT)").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    // With the host's own setting the host's policy permits what ours does not; the restrictive one must still refuse.
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
        "SELECT * FROM hosts_own.letters".to_owned(),
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
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn owner_passes_until_row_level_security_is_forced_upon_it() {
    let world = World::new().await;
    let owner = format!("owner_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            "CREATE ROLE {owner} LOGIN PASSWORD 'secret'; ALTER TABLE public.snapshots OWNER TO {owner};
             GRANT USAGE ON SCHEMA snapshot_lifecycle TO {owner}; GRANT ALL ON ALL TABLES IN SCHEMA snapshot_lifecycle TO {owner}"
        ))
        .await;
    let run = |arguments: &[&str]| {
        let mut command = world.program(arguments);
        command.env("DATABASE_URL", url_of(&world, &owner));
        crate::support::finish(command)
    };
    assert_eq!(run(&["sweep"]).code, 0, "row-level security does not bind an owner");
    world.sql("ALTER TABLE public.snapshots FORCE ROW LEVEL SECURITY").await;
    for arguments in [&["sweep"][..], &["run", "--http-addr", "127.0.0.1:0"], &["doctor"]] {
        let refused = run(arguments);
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert_eq!(refused.code, 1, "{arguments:?}: {said}");
        assert!(said.contains("row-level security hides rows from its DELETE"), "{arguments:?}: {said}");
        assert!(said.contains("deploy/sql/worker-role.sql"), "{arguments:?}: {said}");
    }
    // The table goes with its owner, and the rest of the rights.
    drop_role(&world, &owner).await;
}

#[tokio::test]
async fn policy_for_inserts_alone_hides_nothing() {
    let world = World::new().await;
    let role = worker_role(&world).await;
    world
        .sql("CREATE POLICY small ON public.snapshots AS RESTRICTIVE FOR INSERT WITH CHECK (length(data::text) < 9)")
        .await;
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL", url_of(&world, &role));
    let swept = crate::support::finish(command);
    assert_eq!(swept.code, 0, "{swept:?}");
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn rows_that_come_to_be_hidden_under_load_cost_no_message() {
    let world = World::new().await;
    let role = worker_role(&world).await;
    let url = url_of(&world, &role);
    let worker = world.worker_with(&[("DATABASE_URL", &url), ("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    // The host's own policy raises nothing where it asks for the setting so; a delete would find no row.
    world
        .sql(
            "DROP POLICY snapshots_team_isolation ON public.snapshots;
             CREATE POLICY snapshots_team_isolation ON public.snapshots
                 USING (team_id = NULLIF(current_setting('app.current_team_id', true), '')::uuid)",
        )
        .await;
    for round in 1..=5 {
        let bodies = world.ending_events(20).await;
        for chunk in bodies.chunks(5) {
            world.publish_raw(chunk).await;
            if round == 3 && chunk == &bodies[5..10] {
                world.sql(format!("DROP POLICY {role}_select ON public.snapshots")).await;
            }
        }
        if round == 3 {
            worker.becomes_ready(false).await;
            let lost = worker.logged("database role may not delete; holding messages");
            assert!(lost[0]["error"].as_str().unwrap().contains("deploy/sql/worker-role.sql"), "{lost:?}");
            let rows = world.snapshots().await.len();
            assert!(rows > 0, "what is hidden is not acknowledged as gone");
            world
                .sql(format!("CREATE POLICY {role}_select ON public.snapshots FOR SELECT TO {role} USING (true)"))
                .await;
        }
        worker.reaches("messages_total{outcome=\"applied\"}", f64::from(round) * 20.0).await;
        assert!(world.snapshots().await.is_empty(), "each acknowledged message has taken its row");
    }
    worker.becomes_ready(true).await;
    // BYPASSRLS is no policy, so no lock guards it.
    world.sql(format!("DROP POLICY {role}_select ON public.snapshots; ALTER ROLE {role} BYPASSRLS")).await;
    for round in 6..=8 {
        let bodies = world.ending_events(20).await;
        for body in &bodies {
            world.publish_raw(std::slice::from_ref(body)).await;
            if body == &bodies[10] {
                world.sql(format!("ALTER ROLE {role} NOBYPASSRLS")).await;
            }
        }
        worker.becomes_ready(false).await;
        world.sql(format!("ALTER ROLE {role} BYPASSRLS")).await;
        worker.reaches("messages_total{outcome=\"applied\"}", f64::from(round) * 20.0).await;
        assert!(world.snapshots().await.is_empty(), "each acknowledged message has taken its row");
    }
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.depth(&world.queue).await), (0, 0));
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn role_from_which_row_level_security_hides_rows_is_refused() {
    for (mutilation, named) in [
        ("DROP POLICY ROLE_delete ON public.snapshots", "row-level security hides rows from its DELETE"),
        ("DROP POLICY ROLE_select ON public.snapshots", "row-level security hides rows from its SELECT"),
        ("DROP POLICY ROLE_lock ON public.snapshots", "row-level security hides rows from its UPDATE"),
        (
            "CREATE POLICY narrow ON public.snapshots AS RESTRICTIVE USING (event_id IS NULL)",
            "restrictive row-level security policy narrow",
        ),
        ("REVOKE DELETE ON public.snapshots FROM ROLE", "it lacks DELETE on public.snapshots"),
        ("REVOKE UPDATE (id) ON public.snapshots FROM ROLE", "it lacks UPDATE on a column"),
        ("REVOKE SELECT ON snapshot_lifecycle.retention FROM ROLE", "it lacks SELECT on snapshot_lifecycle.retention"),
        (
            "REVOKE INSERT ON snapshot_lifecycle.applied_ahead FROM ROLE",
            "it lacks INSERT on snapshot_lifecycle.applied_ahead",
        ),
    ] {
        let world = World::new().await;
        let role = worker_role(&world).await;
        world.sql(mutilation.replace("ROLE", &role)).await;
        let url = url_of(&world, &role);
        for arguments in [["run", "--http-addr", "127.0.0.1:0"].as_slice(), &["sweep"]] {
            let mut command = world.program(arguments);
            command.env("DATABASE_URL", &url);
            let refused = crate::support::finish(command);
            assert_eq!(refused.code, 1, "{mutilation}: {refused:?}");
            assert!(refused.stderr.contains(named), "{mutilation}: {refused:?}");
            assert!(refused.stderr.contains("deploy/sql/worker-role.sql"), "{refused:?}");
            assert!(!refused.stderr.contains("secret"), "{refused:?}");
        }
        drop_role(&world, &role).await;
    }
}

#[tokio::test]
async fn table_in_which_a_delete_would_miss_rows_or_take_others_is_refused() {
    for (change, named, fix) in [
        (
            "CREATE TABLE public.old_snapshots () INHERITS (public.snapshots)",
            "public.old_snapshots inherits from it",
            "ALTER TABLE public.old_snapshots NO INHERIT public.snapshots",
        ),
        (
            "CREATE TABLE public.all_snapshots (LIKE public.snapshots); ALTER TABLE public.snapshots INHERIT public.all_snapshots",
            "it is itself a child or partition of public.all_snapshots",
            "ALTER TABLE public.snapshots NO INHERIT public.all_snapshots",
        ),
        (
            "ALTER TABLE public.snapshots DROP CONSTRAINT snapshots_pkey; ALTER TABLE public.snapshots ADD PRIMARY KEY (team_id, id)",
            "id alone is not unique",
            "CREATE UNIQUE INDEX CONCURRENTLY",
        ),
        (PARTITION, "it is partitioned", "keep the snapshots in one table"),
    ] {
        let world = World::new().await;
        let (team, other, event) = (world.team().await, world.team().await, world.event().await);
        world.sql(change).await;
        let expired = Snapshot::of(team).event(event).expires_at(OffsetDateTime::UNIX_EPOCH);
        let id = world.insert(&expired).await;
        if named.contains("unique") {
            // The same id in another team, alive.
            world.sql(format!("INSERT INTO public.snapshots (id, team_id, snapshot_type, data) VALUES ('{id}', '{other}', 'offer', '{{}}')")).await;
        }
        let before = world.count("true").await;
        let event = event.to_string();
        for arguments in [
            &["run", "--http-addr", "127.0.0.1:0"][..],
            &["sweep", "--yes"],
            &["evict", "--yes", "--max-snapshots-per-team", "1"],
            &["delete-event", &event, "--yes"],
            &["retention", "set", "offer", "--ttl", "1d", "--restamp", "--yes"],
            &["doctor"],
        ] {
            let refused = world.run(arguments).await;
            let said = format!("{}{}", refused.stderr, refused.stdout);
            assert_eq!(refused.code, 1, "{arguments:?}: {said}");
            assert!(said.contains(named) && said.contains(fix), "{arguments:?}: {said}");
        }
        assert_eq!(world.count("true").await, before, "{change}");
    }
}

/// A backend that puts a partitioned table in the place of the one that `migrate` saw.
const PARTITION: &str = "
    ALTER TABLE public.snapshots RENAME TO snapshots_before;
    CREATE TABLE public.snapshots (LIKE public.snapshots_before INCLUDING DEFAULTS) PARTITION BY HASH (team_id);
    CREATE TABLE public.snapshots_0 PARTITION OF public.snapshots FOR VALUES WITH (MODULUS 1, REMAINDER 0);";

#[tokio::test]
async fn worker_with_nothing_to_do_notices_that_rows_are_hidden_or_out_of_reach() {
    let world = World::new().await;
    let role = worker_role(&world).await;
    let url = url_of(&world, &role);
    let worker = world.worker_with(&[("DATABASE_URL", &url), ("LIFECYCLE_SWEEP_INTERVAL", "200ms")]).await;
    let said = "cannot work on this database";
    let told_of = |what: &str| {
        worker
            .logged(said)
            .iter()
            .filter(|line| line["error"].as_str().is_some_and(|error| error.contains(what)))
            .count()
    };
    let failed = || worker.logged("pass failed; trying again at the next interval").len();

    world.sql(format!("DROP POLICY {role}_delete ON public.snapshots")).await;
    worker.becomes_ready(false).await;
    assert_eq!(told_of("row-level security hides rows from its DELETE"), 1, "{}", worker.log_text());
    let team = world.team().await;
    let expired = world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    let before = failed();
    eventually("a pass to fail", async || failed() > before).await;
    assert_eq!(world.snapshots().await, set([expired]));
    world.sql(format!("CREATE POLICY {role}_delete ON public.snapshots FOR DELETE TO {role} USING (true)")).await;
    worker.becomes_ready(true).await;
    eventually("the row to be swept", async || world.snapshots().await.is_empty()).await;
    assert_eq!(told_of("row-level security hides rows from its DELETE"), 1, "once, until it changes");

    let completed = async || -> Option<OffsetDateTime> {
        let completed = "SELECT completed_at FROM snapshot_lifecycle.lease WHERE name = 'ttl'";
        sqlx::query_scalar(completed).fetch_one(&world.pool).await.unwrap()
    };
    world.sql(PARTITION).await;
    world.sql(format!("GRANT SELECT, DELETE, UPDATE (id) ON public.snapshots TO {role}")).await;
    worker.becomes_ready(false).await;
    let (before, at) = (failed(), completed().await);
    eventually("two passes to fail", async || failed() > before + 1).await;
    assert_eq!(completed().await, at, "a pass that reached nothing does not count as done");
    eventually("the reason", async || told_of("it is partitioned") == 1).await;
    worker.stop().await;
    drop_role(&world, &role).await;
}
