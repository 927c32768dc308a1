use crate::support::{Servers, Snapshot, World, checkup, checkup_with, settled};

#[tokio::test]
async fn each_mistake_in_the_database_has_its_line_and_its_fix() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    let installed = world.run(&["outbox", "install", "--table", "events", "--status-column", "status"]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    world.worker().await.stop().await;
    let team = world.team().await;
    world.insert(&Snapshot::of(team).expires_at(time::OffsetDateTime::UNIX_EPOCH)).await;
    world.sql(include_str!("make_mistakes.sql")).await;
    let sick = checkup(&world, &["--evict-interval", "1m"]).await;
    sick.has("database.schema", "warning", "29990101000000", "upgrade");
    sick.has("database.role", "warning", "row-level security does not apply to it", "worker-role.sql");
    sick.has(
        "database.indexes",
        "failed",
        "no index on (event_id)",
        "CREATE INDEX CONCURRENTLY idx_snapshots_event ON public.snapshots (event_id);",
    );
    let fix = "REINDEX INDEX CONCURRENTLY public.idx_snapshots_team_newest;";
    sick.has("database.indexes", "failed", "idx_snapshots_team_newest is invalid", fix);
    sick.has("database.indexes", "warning", "backends_own is invalid", "DROP INDEX CONCURRENTLY");
    sick.has("database.autovacuum", "failed", "off for public.snapshots", "RESET (autovacuum_enabled)");
    sick.has("database.references", "warning", "public.favourites", "ON DELETE");
    let fix = "CREATE INDEX CONCURRENTLY ON public.favourites (snapshot);";
    sick.has("database.references", "failed", "public.favourites references snapshots by snapshot", fix);
    sick.has("database.sweep", "failed", "1 expired snapshots", "sweep --yes");
    sick.has("database.evict", "failed", "one is due every 60 s", "start a worker");
    sick.has("database.outbox", "failed", "1 status changes wait", "start a worker");
    sick.has("rabbitmq.consumers", "warning", "no worker consumes", "start a worker");

    // Each fix, as it is printed, works.
    world.sql(include_str!("fix_mistakes.sql")).await;
    settled(&world, &[]).await.stop().await;
    let better = checkup(&world, &[]).await;
    better.has("database.indexes", "ok", "every statement", "");
    better.has("database.sweep", "ok", "completed", "");
    better.has("database.evict", "ok", "completed", "");
    better.has("database.outbox", "failed", "a trigger on public.events is disabled", "ENABLE TRIGGER");
    better.has("database.isolation", "warning", "row-level security is off", "ENABLE ROW LEVEL SECURITY");
    better.has("database.retention", "failed", "expires_at is missing or disabled", "ENABLE TRIGGER");

    world
        .sql(
            r"
                ALTER TABLE public.events ENABLE TRIGGER snapshot_lifecycle_outbox_update;
                ALTER TABLE public.events RENAME COLUMN status TO state;
                DELETE FROM snapshot_lifecycle.retention WHERE snapshot_type = '*'",
        )
        .await;
    let worse = checkup(&world, &[]).await;
    worse.has("database.outbox", "warning", "renamed or dropped", "outbox install");
    worse.has("database.retention", "failed", "no row for *", "retention set '*'");
    let put_back = world.run(&["retention", "set", "*", "--ttl", "7d", "--keep-after-event", "false", "--yes"]).await;
    assert_eq!(put_back.code, 0, "{put_back:?}");
}

#[tokio::test]
async fn database_that_only_reads_or_was_migrated_otherwise_fails() {
    let world = World::new().await;
    world
        .sql(
            r"
                UPDATE snapshot_lifecycle.migrations SET checksum = ''
                    WHERE version = (SELECT min(version) FROM snapshot_lifecycle.migrations);
                DO $$ BEGIN
                    EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
                END $$",
        )
        .await;
    let sick = checkup(&world, &[]).await;
    sick.has("database.writable", "failed", "default_transaction_read_only", "ALTER DATABASE");
    sick.has("database.schema", "failed", "files with different contents: 20260105120000", "release");
}

#[tokio::test]
async fn role_that_cannot_do_the_job_is_told_what_it_lacks() {
    let world = World::new().await;
    let role = world.worker_role();
    world
        .sql(format!(
            r"
                DROP POLICY {role}_delete ON public.snapshots;
                REVOKE SELECT ON snapshot_lifecycle.retention FROM {role};
                REVOKE SELECT ON snapshot_lifecycle.outbox FROM {role}"
        ))
        .await;
    let sick = checkup_with(&world, &[("DATABASE_URL", &world.url_as(&role))]);
    sick.has("database.role", "failed", "row-level security hides rows from its DELETE", "worker-role.sql");
    sick.has("database.role", "failed", "it lacks SELECT on snapshot_lifecycle.retention", "worker-role.sql");
    sick.has("database.outbox", "skipped", "may not read", "");
    world.sql(format!("REVOKE USAGE ON SCHEMA snapshot_lifecycle FROM {role}")).await;
    let sicker = checkup_with(&world, &[("DATABASE_URL", &world.url_as(&role))]);
    sicker.has("database.schema", "failed", "permission denied", "worker-role.sql");
    world.sql(format!("ALTER TABLE public.snapshots OWNER TO {role}; GRANT ALL ON SCHEMA snapshot_lifecycle TO {role}; GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA snapshot_lifecycle TO {role}")).await;
    let owner = checkup_with(&world, &[("DATABASE_URL", &world.url_as(&role))]);
    owner.has("database.role", "warning", "does not apply to it", "worker-role.sql");
    world.sql("ALTER TABLE public.snapshots OWNER TO CURRENT_USER").await;
    world.drop_role(&role).await;
}

#[tokio::test]
async fn table_that_is_not_deleted_from_as_a_whole_fails() {
    let world = World::new().await;
    checkup(&world, &[]).await.has("database.table", "ok", "an ordinary table", "");
    world
        .sql(
            r"
                CREATE TABLE public.archived () INHERITS (public.snapshots);
                ALTER TABLE public.snapshots DROP CONSTRAINT snapshots_pkey, ADD PRIMARY KEY (team_id, id);
                ALTER TABLE public.snapshots REPLICA IDENTITY NOTHING;
                CREATE PUBLICATION p FOR TABLE public.snapshots",
        )
        .await;
    let sick = checkup(&world, &[]).await;
    sick.has("database.table", "failed", "public.archived inherits", "NO INHERIT public.snapshots");
    sick.has("database.table", "failed", "id alone is not unique", "CREATE UNIQUE INDEX CONCURRENTLY");
    sick.has("database.table", "failed", "without a replica identity", "REPLICA IDENTITY DEFAULT");
    sick.has("database.connection", "ok", world.database_url.rsplit('/').next().unwrap(), "");
}

#[tokio::test]
async fn pooler_is_recognised() {
    let servers = Servers::private();
    let pair = servers.pair();
    let mut world = World::on(pair.clone()).await;
    let database = world.database_url.rsplit('/').next().unwrap().to_owned();
    for (mode, message) in [("session", "a pooler in session mode"), ("transaction", "a pooler in transaction mode")] {
        let pooler = pair.pooler(mode);
        world.database_url = format!("{}/{database}", pooler.rsplit_once('/').unwrap().0);
        let seen = checkup(&world, &[]).await;
        seen.has("database.pooler", "ok", message, "");
        seen.has("database.role", "warning", "does not apply", "");
    }
    world.database_url = format!("{}/{database}", pair.pooler("statement").rsplit_once('/').unwrap().0);
    let refused = checkup(&world, &[]).await;
    refused.has("database.connection", "failed", "statement pooling", "pool_mode = transaction");
}
