//! Row-level security, views and inheritance: a worker that would miss rows refuses to work, or holds its messages.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Snapshot, World, eventually, set};

#[tokio::test]
async fn owner_passes_until_row_level_security_is_forced_upon_it() {
    let world = World::new().await;
    let owner = format!("owner_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            r"
                CREATE ROLE {owner} LOGIN PASSWORD 'secret'; ALTER TABLE public.snapshots OWNER TO {owner};
                GRANT USAGE ON SCHEMA snapshot_lifecycle TO {owner};
                GRANT ALL ON ALL TABLES IN SCHEMA snapshot_lifecycle TO {owner}"
        ))
        .await;
    let run = |arguments: &[&str]| {
        let mut command = world.program(arguments);
        command.env("DATABASE_URL", world.url_as(&owner));
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
    world.drop_role(&owner).await;
}

#[tokio::test]
async fn policy_for_inserts_alone_hides_nothing() {
    let world = World::new().await;
    let role = world.worker_role();
    world
        .sql("CREATE POLICY small ON public.snapshots AS RESTRICTIVE FOR INSERT WITH CHECK (length(data::text) < 9)")
        .await;
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL", world.url_as(&role));
    let swept = crate::support::finish(command);
    assert_eq!(swept.code, 0, "{swept:?}");
    world.drop_role(&role).await;
}

#[tokio::test]
async fn rows_that_come_to_be_hidden_under_load_cost_no_message() {
    let world = World::new().await;
    let role = world.worker_role();
    let url = world.url_as(&role);
    let worker = world.worker_with(&[("DATABASE_URL", &url), ("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    // The backend's own policy raises nothing where it asks for the setting so; a delete would find no row.
    world
        .sql(
            r"
                DROP POLICY snapshots_team_isolation ON public.snapshots;
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
    world.drop_role(&role).await;
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
        let role = world.worker_role();
        world.sql(mutilation.replace("ROLE", &role)).await;
        let url = world.url_as(&role);
        for arguments in [["run", "--http-addr", "127.0.0.1:0"].as_slice(), &["sweep"]] {
            let mut command = world.program(arguments);
            command.env("DATABASE_URL", &url);
            let refused = crate::support::finish(command);
            assert_eq!(refused.code, 1, "{mutilation}: {refused:?}");
            assert!(refused.stderr.contains(named), "{mutilation}: {refused:?}");
            assert!(refused.stderr.contains("deploy/sql/worker-role.sql"), "{refused:?}");
            assert!(!refused.stderr.contains("secret"), "{refused:?}");
        }
        world.drop_role(&role).await;
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
const PARTITION: &str = r"
    ALTER TABLE public.snapshots RENAME TO snapshots_before;
    CREATE TABLE public.snapshots (LIKE public.snapshots_before INCLUDING DEFAULTS) PARTITION BY HASH (team_id);
    CREATE TABLE public.snapshots_0 PARTITION OF public.snapshots FOR VALUES WITH (MODULUS 1, REMAINDER 0);";

#[tokio::test]
async fn worker_with_nothing_to_do_notices_that_rows_are_hidden_or_out_of_reach() {
    let world = World::new().await;
    let role = world.worker_role();
    let url = world.url_as(&role);
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
    world.drop_role(&role).await;
}
