//! `migrate` builds its indexes without blocking anybody, whatever timeouts the role or a pooler sets.

use crate::support::{BACKEND_TABLES, Running, SEED, SEED_INDEXES, Servers, World, eventually, finish};

#[tokio::test]
async fn index_that_was_left_half_built_is_built_again() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world.sql(SEED).await;
    world.sql(SEED_INDEXES).await;
    // What a CREATE INDEX CONCURRENTLY that was killed leaves behind.
    world.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_snapshots_event'::regclass").await;
    assert_eq!(world.run(&["migrate"]).await.code, 0);
    assert_eq!(world.schema().await, World::new().await.schema().await);
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
    // The build waits for this one for longer than the role's timeout.
    let mut writer = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN ROW EXCLUSIVE MODE").execute(&mut *writer).await.unwrap();
    let (_, host) = world.database_url.split_once('@').unwrap();
    let mut command = world.program(&["migrate"]);
    command.env("DATABASE_URL", format!("postgres://{role}:secret@{host}"));
    let migrate = Running::start(command);
    eventually("the build to take longer than the timeout", async || {
        sqlx::query_scalar::<_, bool>(
            r"
                SELECT EXISTS (SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND state = 'active' AND query LIKE '%CREATE INDEX CONCURRENTLY%'
                        AND pid <> pg_backend_pid() AND now() - query_start > interval '1 s')",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap()
    })
    .await;
    writer.rollback().await.unwrap();
    let migrated = migrate.ended().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert_eq!(world.schema().await, World::new().await.schema().await);
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
    assert_eq!(world.schema().await, World::new().await.schema().await);
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
            r"
                SELECT EXISTS (SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND state = 'active' AND query LIKE '%CREATE INDEX CONCURRENTLY%'
                        AND pid <> pg_backend_pid())
                AND EXISTS (SELECT FROM snapshot_lifecycle.lease
                    WHERE name = 'migrate' AND expires_at < clock_timestamp())",
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
    assert_eq!(world.schema().await, World::new().await.schema().await);
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
    assert_eq!(oid().await, under_construction, "it was not built again");
    assert_eq!(world.schema().await, World::new().await.schema().await);
}
