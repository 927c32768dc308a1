//! `migrate`: beside whatever is there already.

use crate::support::{HOST_TABLES, Servers, Snapshot, World};

/// The SQL of the note that the project comes from, as somebody would have run it by hand.
const SEED: &str = "
    CREATE TABLE snapshots (
        id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        team_id UUID NOT NULL REFERENCES teams(id),
        snapshot_type TEXT NOT NULL,
        event_id UUID REFERENCES events(id),
        params JSONB DEFAULT '{}',
        data JSONB NOT NULL,
        created_at TIMESTAMPTZ DEFAULT NOW(),
        expires_at TIMESTAMPTZ NOT NULL
    );";
const SEED_INDEXES: &str = "
    CREATE INDEX idx_snapshots_team_type ON snapshots(team_id, snapshot_type);
    CREATE INDEX idx_snapshots_event ON snapshots(event_id);
    CREATE INDEX idx_snapshots_expires ON snapshots(expires_at);";
const SEED_POLICY: &str = "
    ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;
    CREATE POLICY snapshots_team_isolation ON snapshots
        FOR ALL USING (team_id = current_setting('app.current_team_id')::uuid);";

/// Everything that can be said about the table: columns, constraints, indexes, policies, triggers, row-level security.
async fn shape(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT format('column %s %s %s %s', column_name, data_type, is_nullable, column_default) FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = 'snapshots' \
         UNION ALL SELECT format('constraint %s', pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = 'public.snapshots'::regclass \
         UNION ALL SELECT format('index %s %s', indexdef, indisvalid) FROM pg_indexes JOIN pg_index ON indexrelid = to_regclass(indexname) WHERE tablename = 'snapshots' \
         UNION ALL SELECT format('policy %s %s %s %s', policyname, cmd, roles, qual) FROM pg_policies WHERE tablename = 'snapshots' \
         UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE tgrelid = 'public.snapshots'::regclass AND NOT tgisinternal \
         UNION ALL SELECT format('row security %s %s', relrowsecurity, relforcerowsecurity) FROM pg_class WHERE oid = 'public.snapshots'::regclass \
         ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn seed_run_by_hand_whole_or_in_part_ends_in_the_same_shape_and_loses_no_row() {
    let fresh = World::new().await;
    let expected = shape(&fresh).await;
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
        world.sql(HOST_TABLES).await;
        world.sql(by_hand.clone()).await;
        let row = world.insert(&Snapshot::of(world.team().await).without_created_at()).await;
        let migrated = world.run(&["migrate"]).await;
        assert_eq!(migrated.code, 0, "{migrated:?}");
        assert_eq!(shape(&world).await, expected, "{by_hand}");
        assert!(world.snapshots().await.contains(&row));
    }
}

#[tokio::test]
async fn second_time_changes_nothing() {
    let world = World::new().await;
    let before = shape(&world).await;
    let again = world.run(&["migrate"]).await;
    assert_eq!((again.code, again.json()["applied"].as_array().unwrap().len()), (0, 0));
    assert_eq!(shape(&world).await, before);
}

#[tokio::test]
async fn several_replicas_at_once_migrate_once() {
    let world = World::bare(Servers::shared()).await;
    world.sql(HOST_TABLES).await;
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
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
}

#[tokio::test]
async fn index_that_was_left_half_built_is_built_anew() {
    let world = World::bare(Servers::shared()).await;
    world.sql(HOST_TABLES).await;
    world.sql(SEED).await;
    world.sql(SEED_INDEXES).await;
    // What a CREATE INDEX CONCURRENTLY that was killed leaves behind.
    world.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_snapshots_event'::regclass").await;
    assert_eq!(world.run(&["migrate"]).await.code, 0);
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
}

#[tokio::test]
async fn hosts_own_sqlx_migrations_are_not_disturbed() {
    let world = World::bare(Servers::shared()).await;
    world.sql(HOST_TABLES).await;
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
async fn without_the_hosts_tables_it_says_what_is_expected_and_does_nothing() {
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
    ] {
        let world = World::bare(Servers::shared()).await;
        world.sql(HOST_TABLES).await;
        world.sql(sql).await;
        let migrated = world.run(&["migrate"]).await;
        assert_eq!(migrated.code, 1, "{sql}");
        assert!(migrated.stderr.contains(named), "{migrated:?}");
    }
}

#[tokio::test]
async fn worker_refuses_a_database_that_was_not_migrated() {
    let world = World::bare(Servers::shared()).await;
    world.sql(HOST_TABLES).await;
    let run = world.run(&["run", "--http-addr", "127.0.0.1:0"]).await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("snapshot-lifecycle migrate"), "{run:?}");
    let sweep = world.run(&["sweep"]).await;
    assert_eq!(sweep.code, 1);
    assert!(sweep.stderr.contains("snapshot-lifecycle migrate"), "{sweep:?}");
}
