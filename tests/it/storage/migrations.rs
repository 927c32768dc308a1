//! `migrate`: beside whatever exists already.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{BACKEND_TABLES, SEED, SEED_INDEXES, SEED_POLICY, Servers, Snapshot, World};

#[tokio::test]
async fn seed_run_by_hand_whole_or_in_part_ends_in_the_same_shape_and_loses_no_row() {
    let fresh = World::new().await;
    let expected = fresh.schema().await;
    assert_eq!(expected.iter().filter(|line| line.starts_with("index")).count(), 5, "{expected:#?}");
    for by_hand in [
        format!("{SEED}{SEED_INDEXES}{SEED_POLICY}"),
        format!("{SEED}{SEED_INDEXES}"),
        SEED.to_owned(),
        format!(
            "{SEED}CREATE INDEX idx_snapshots_event ON snapshots(event_id); ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;"
        ),
    ] {
        let world = World::bare(Servers::shared()).await;
        world.sql(BACKEND_TABLES).await;
        world.sql(by_hand.clone()).await;
        let row = world.insert(&Snapshot::of(world.team().await).without_created_at()).await;
        let migrated = world.run(&["migrate"]).await;
        assert_eq!(migrated.code, 0, "{migrated:?}");
        assert_eq!(world.schema().await, expected, "{by_hand}");
        assert!(world.snapshots().await.contains(&row));
    }
}

#[tokio::test]
async fn second_time_changes_nothing() {
    let world = World::new().await;
    let before = world.schema().await;
    let again = world.run(&["migrate"]).await;
    assert_eq!((again.code, again.json()["applied"].as_array().unwrap().len()), (0, 0));
    assert_eq!(world.schema().await, before);
}

#[tokio::test]
async fn init_container_waits_until_the_owner_has_migrated_and_changes_nothing() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    let in_vain = world.run(&["migrate", "--wait", "1500ms"]).await;
    assert_eq!(in_vain.code, 1, "{in_vain:?}");
    assert_eq!(in_vain.stderr.matches("waiting: the database is not migrated").count(), 1, "{in_vain:?}");
    assert!(in_vain.stderr.contains("error: the database is not migrated"), "{in_vain:?}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'snapshot_lifecycle'";
    assert_eq!(sqlx::query_scalar::<_, i64>(schemas).fetch_one(&world.pool).await.unwrap(), 0);

    let (waited, migrated) = tokio::join!(world.run(&["migrate", "--wait", "10m"]), world.run(&["migrate"]));
    assert_eq!((waited.code, migrated.code), (0, 0), "{waited:?} {migrated:?}");
    assert_eq!(waited.json(), serde_json::json!({"applied": []}));
}

#[tokio::test]
async fn several_replicas_at_once_migrate_once() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    let runs = tokio::join!(
        world.run(&["migrate"]),
        world.run(&["migrate"]),
        world.run(&["migrate"]),
        world.run(&["migrate"])
    );
    let mut applied = 0;
    for run in [runs.0, runs.1, runs.2, runs.3] {
        assert_eq!(run.code, 0, "{run:?}");
        applied += run.json()["applied"].as_array().unwrap().len();
    }
    let recorded: i64 =
        sqlx::query_scalar("SELECT count(*) FROM snapshot_lifecycle.migrations").fetch_one(&world.pool).await.unwrap();
    assert_eq!(i64::try_from(applied).unwrap(), recorded);
    assert_eq!(world.schema().await, World::new().await.schema().await);
}

#[tokio::test]
async fn backends_own_sqlx_migrations_are_not_disturbed() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world.sql("CREATE TABLE public._sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT); INSERT INTO public._sqlx_migrations VALUES (1, 'the host''s')").await;
    assert_eq!(world.run(&["migrate"]).await.code, 0);
    let theirs: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM public._sqlx_migrations").fetch_all(&world.pool).await.unwrap();
    assert_eq!(theirs, [1]);
    let ours: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(ours, ["_sqlx_migrations", "events", "snapshots", "teams"]);
}

#[tokio::test]
async fn without_the_backends_tables_it_says_what_is_expected_and_does_nothing() {
    let world = World::bare(Servers::shared()).await;
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 1);
    assert!(migrated.stderr.contains("public.teams and public.events"), "{migrated:?}");
    let schemas: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'snapshot_lifecycle'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(schemas, 0);
}

#[tokio::test]
async fn table_of_another_shape_is_refused_and_named() {
    for (sql, named) in [
        ("CREATE TABLE public.snapshots (id UUID PRIMARY KEY, team_id INT)", "expires_at timestamp with time zone"),
        ("CREATE VIEW public.snapshots AS SELECT 1 AS id", "not a table"),
        (
            "CREATE TABLE public.snapshots (id UUID, team_id UUID, snapshot_type TEXT, event_id UUID, params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ) PARTITION BY RANGE (created_at)",
            "partitioned",
        ),
        (
            "CREATE TABLE public.snapshots (id UUID PRIMARY KEY, team_id UUID, snapshot_type TEXT, event_id UUID, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ)",
            "ALTER TABLE public.snapshots ADD COLUMN params jsonb DEFAULT '{}';",
        ),
        (
            "CREATE TABLE public.snapshots (id UUID, team_id UUID, snapshot_type TEXT, event_id UUID, params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ, PRIMARY KEY (team_id, id))",
            "CREATE UNIQUE INDEX CONCURRENTLY ON public.snapshots (id);",
        ),
        (
            r"
                CREATE TABLE public.snapshots (id UUID PRIMARY KEY, team_id UUID, snapshot_type TEXT, event_id UUID,
                    params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ);
                CREATE TABLE public.old_snapshots () INHERITS (public.snapshots)",
            "ALTER TABLE public.old_snapshots NO INHERIT public.snapshots;",
        ),
        (
            r"
                CREATE TABLE public.any_snapshots (id UUID, team_id UUID, snapshot_type TEXT, event_id UUID,
                    params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ);
                CREATE TABLE public.snapshots (PRIMARY KEY (id)) INHERITS (public.any_snapshots)",
            "child",
        ),
    ] {
        let world = World::bare(Servers::shared()).await;
        world.sql(BACKEND_TABLES).await;
        world.sql(sql).await;
        let migrated = world.run(&["migrate"]).await;
        assert_eq!(migrated.code, 1, "{sql}");
        assert!(migrated.stderr.contains(named), "{migrated:?}");
    }
}

#[tokio::test]
async fn lost_record_of_a_migration_is_found_again_and_a_half_lost_one_is_told() {
    let world = World::new().await;
    let expected = world.schema().await;
    world.sql("DELETE FROM snapshot_lifecycle.migrations").await;
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert_eq!(world.schema().await, expected);
    assert!(world.run(&["migrate"]).await.json()["applied"].as_array().unwrap().is_empty());

    world.sql("DELETE FROM snapshot_lifecycle.migrations WHERE version = 20260105120800; DROP TRIGGER snapshot_lifecycle_fill_expires_at ON public.snapshots").await;
    let half = world.run(&["migrate"]).await;
    assert_eq!(half.code, 1, "{half:?}");
    assert!(half.stderr.contains("without snapshot_lifecycle_fill_expires_at"), "{half:?}");
}

#[tokio::test]
async fn rows_that_never_expire_are_counted() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world.sql(SEED).await;
    let team = world.team().await;
    world.insert_many(team, 2).await;
    world
        .sql("ALTER TABLE public.snapshots ALTER COLUMN expires_at DROP NOT NULL; UPDATE public.snapshots SET expires_at = NULL WHERE id = (SELECT min(id::text)::uuid FROM public.snapshots)")
        .await;
    let migrated = world.run(&["migrate"]).await;
    assert_eq!((migrated.code, migrated.json()["rows_without_expires_at"].as_i64()), (0, Some(1)), "{migrated:?}");
    let told = world.run(&["migrate", "--output", "table"]).await;
    assert!(told.stdout.contains("never expire: 1") && told.stdout.contains("--restamp"), "{told:?}");
    let doctor = world.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("1 snapshots have no expires_at"), "{doctor:?}");
}

#[tokio::test]
async fn worker_refuses_a_database_that_was_not_migrated() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    let run = world.run(&["run", "--http-addr", "127.0.0.1:0"]).await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("snapshot-lifecycle migrate"), "{run:?}");
    let sweep = world.run(&["sweep"]).await;
    assert_eq!(sweep.code, 1);
    assert!(sweep.stderr.contains("snapshot-lifecycle migrate"), "{sweep:?}");
}

#[tokio::test]
async fn session_that_has_inserted_goes_on_after_a_column_was_given_another_type() {
    let world = World::new().await;
    let team = world.team().await;
    world.sql("ALTER TABLE public.snapshots ALTER COLUMN snapshot_type TYPE varchar(50)").await;
    let mut session = PgConnection::connect(&world.database_url).await.unwrap();
    let insert =
        format!("INSERT INTO public.snapshots (team_id, snapshot_type, data) VALUES ('{team}', 'qna', '{{}}')");
    for other_type in ["text", "varchar(40)", "text"] {
        sqlx::raw_sql(AssertSqlSafe(insert.clone())).execute(&mut session).await.unwrap();
        world.sql(format!("ALTER TABLE public.snapshots ALTER COLUMN snapshot_type TYPE {other_type}")).await;
    }
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut session).await.unwrap();
    assert_eq!(world.count("expires_at = created_at + interval '365 days'").await, 4);
    session.close().await.unwrap();
}
