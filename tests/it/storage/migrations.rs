//! `migrate`: beside whatever is there already.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{BACKEND_TABLES, Running, Servers, Snapshot, World, eventually, finish};

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
        world.sql(BACKEND_TABLES).await;
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
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
}

#[tokio::test]
async fn index_that_was_left_half_built_is_built_anew() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
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
        (
            "CREATE TABLE public.snapshots (id UUID PRIMARY KEY, team_id UUID, snapshot_type TEXT, event_id UUID, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ)",
            "ALTER TABLE public.snapshots ADD COLUMN params jsonb DEFAULT '{}';",
        ),
        (
            "CREATE TABLE public.snapshots (id UUID, team_id UUID, snapshot_type TEXT, event_id UUID, params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ, PRIMARY KEY (team_id, id))",
            "CREATE UNIQUE INDEX CONCURRENTLY ON public.snapshots (id);",
        ),
        (
            "CREATE TABLE public.snapshots (id UUID PRIMARY KEY, team_id UUID, snapshot_type TEXT, event_id UUID, params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ); \
             CREATE TABLE public.old_snapshots () INHERITS (public.snapshots)",
            "ALTER TABLE public.old_snapshots NO INHERIT public.snapshots;",
        ),
        (
            "CREATE TABLE public.any_snapshots (id UUID, team_id UUID, snapshot_type TEXT, event_id UUID, params JSONB, data JSONB, created_at TIMESTAMPTZ, expires_at TIMESTAMPTZ); \
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
async fn role_with_a_time_out_still_builds_its_indexes() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world.sql(SEED).await;
    let role = format!("owner_{}", uuid::Uuid::new_v4().simple());
    world
        .sql(format!(
            "CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'secret'; ALTER ROLE {role} SET statement_timeout = '500ms'"
        ))
        .await;
    // The build waits for this one for longer than the role's time-out.
    let mut writer = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN ROW EXCLUSIVE MODE").execute(&mut *writer).await.unwrap();
    let (_, host) = world.database_url.split_once('@').unwrap();
    let mut command = world.program(&["migrate"]);
    command.env("DATABASE_URL", format!("postgres://{role}:secret@{host}"));
    let migrate = Running::start(command);
    eventually("the build to take longer than the time-out", async || {
        sqlx::query_scalar::<_, bool>(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
             AND query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid() AND now() - query_start > interval '1 s')",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap()
    })
    .await;
    writer.rollback().await.unwrap();
    let migrated = migrate.ended().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
    world.sql(format!("REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn time_out_that_the_pooler_keeps_is_told_at_once() {
    let servers = Servers::private();
    let pair = servers.pair();
    let world = World::bare(pair.clone()).await;
    world.sql(BACKEND_TABLES).await;
    let database = world.database_url.rsplit('/').next().unwrap().to_owned();
    let pooler = pair.pooler("transaction");
    // Not for everything: our transactions set their own. A lock of the backend's holds the build up.
    world.sql(format!("ALTER DATABASE {database} SET statement_timeout = '300ms'")).await;
    world.sql(SEED).await;
    let mut writer = world.pool.begin().await.unwrap();
    sqlx::query("INSERT INTO public.teams DEFAULT VALUES").execute(&mut *writer).await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN ROW EXCLUSIVE MODE").execute(&mut *writer).await.unwrap();
    let mut command = world.program(&["migrate"]);
    command.env("DATABASE_URL", format!("{}/{database}", pooler.rsplit_once('/').unwrap().0));
    let refused = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("ALTER ROLE CURRENT_USER SET statement_timeout = 0"), "{refused:?}");
    assert!(!refused.stderr.contains("wait for a lock"), "tried once: {refused:?}");
    writer.rollback().await.unwrap();
    world.sql(format!("ALTER DATABASE {database} RESET statement_timeout")).await;
    pair.control(&["pgbouncer", "stop"]);
    assert_eq!(world.run(&["migrate"]).await.code, 0);
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
}

#[tokio::test]
async fn pooler_with_one_connection_does_for_an_index_that_takes_longer_than_the_lease() {
    let servers = Servers::private();
    let pair = servers.pair();
    let world = World::bare(pair.clone()).await;
    world.sql(BACKEND_TABLES).await;
    world.sql(SEED).await;
    let database = world.database_url.rsplit('/').next().unwrap().to_owned();
    let pooler = pair.pooler_of("transaction", 1);
    let mut writer = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN ROW EXCLUSIVE MODE").execute(&mut *writer).await.unwrap();
    let mut command = world.program(&["migrate"]);
    command.env("DATABASE_URL", format!("{}/{database}", pooler.rsplit_once('/').unwrap().0));
    let migrate = Running::start(command);
    // Nobody can renew it meanwhile: the build has the only connection.
    eventually("the lease to run out during the build", async || {
        sqlx::query_scalar::<_, bool>(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%' \
                            AND state = 'active' AND pid <> pg_backend_pid()) \
                AND EXISTS (SELECT FROM snapshot_lifecycle.lease WHERE name = 'migrate' AND expires_at < clock_timestamp())",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap_or(false)
    })
    .await;
    writer.rollback().await.unwrap();
    let migrated = migrate.ended().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    pair.control(&["pgbouncer", "stop"]);
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
    assert!(world.run(&["migrate"]).await.json()["applied"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn index_that_another_session_is_building_is_waited_for() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world.sql(SEED).await;
    // A transaction that the build has to wait for.
    let mut writer = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN ROW EXCLUSIVE MODE").execute(&mut *writer).await.unwrap();
    let pool = world.pool.clone();
    let build = tokio::spawn(async move {
        sqlx::raw_sql("CREATE INDEX CONCURRENTLY idx_snapshots_event ON public.snapshots (event_id)")
            .execute(&pool)
            .await
    });
    let oid = async || {
        sqlx::query_scalar::<_, Option<i64>>("SELECT to_regclass('public.idx_snapshots_event')::oid::int8")
            .fetch_one(&world.pool)
            .await
            .unwrap()
    };
    eventually("the index to be under construction", async || oid().await.is_some()).await;
    let under_construction = oid().await;
    let mut command = world.program(&["migrate"]);
    command.env("RUST_LOG", "info");
    let migrate = Running::start(command);
    eventually("the lease to be taken", async || {
        sqlx::query("SELECT FROM snapshot_lifecycle.lease WHERE name = 'migrate'")
            .fetch_optional(&world.pool)
            .await
            .is_ok_and(|row| row.is_some())
    })
    .await;
    writer.rollback().await.unwrap();
    build.await.unwrap().unwrap();
    let migrated = migrate.ended().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert_eq!(oid().await, under_construction, "it was not built anew");
    assert_eq!(shape(&world).await, shape(&World::new().await).await);
}

#[tokio::test]
async fn lost_record_of_a_migration_is_found_again_and_a_half_lost_one_is_told() {
    let world = World::new().await;
    let expected = shape(&world).await;
    world.sql("DELETE FROM snapshot_lifecycle.migrations").await;
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert_eq!(shape(&world).await, expected);
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
