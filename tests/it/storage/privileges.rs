//! Nobody gets more than their role: what a tenant's role, the worker's, and everybody may do with what is ours in the database.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::support::{Snapshot, World};

/// A tenant's role: it may use `SnapshotStore`, and change its events.
async fn tenant_role(world: &World) -> String {
    let role = format!("tenant_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            r"
                CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT, INSERT, DELETE ON public.snapshots TO {role};
                GRANT USAGE ON SCHEMA snapshot_lifecycle TO {role};
                GRANT SELECT ON snapshot_lifecycle.retention TO {role};
                GRANT SELECT, INSERT, UPDATE ON public.events TO {role}"
        ))
        .await;
    role
}

/// Tables of the caller's own, with our functions attached.
const ATTACHMENTS: [&str; 2] = [
    r"
        CREATE TEMP TABLE forged (id UUID, status TEXT, team_id UUID);
        CREATE TRIGGER forged AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION snapshot_lifecycle.RECORD()",
    r"
        CREATE TEMP TABLE filled (created_at TIMESTAMPTZ, snapshot_type TEXT, expires_at TIMESTAMPTZ);
        CREATE TRIGGER filled BEFORE INSERT ON filled FOR EACH ROW EXECUTE FUNCTION snapshot_lifecycle.fill_expires_at()",
];

async fn record_function(world: &World) -> String {
    sqlx::query_scalar("SELECT proname::text FROM pg_proc WHERE proname LIKE 'record\\_status\\_of\\_%'")
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

async fn execute(connection: &mut PgConnection, sql: &str) -> Result<(), String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn nobody_else_may_attach_our_functions() {
    let world = World::new().await;
    world.install_outbox_with(&["--on-insert"]).await;
    // Installed again, too.
    world.install_outbox_with(&["--on-insert"]).await;
    let record = record_function(&world).await;
    for role in [tenant_role(&world).await, world.worker_role()] {
        let mut connection = PgConnection::connect(&world.url_as(&role)).await.unwrap();
        for attachment in ATTACHMENTS {
            let refused = execute(&mut connection, &attachment.replace("RECORD", &record)).await.unwrap_err();
            assert!(refused.contains("permission denied for function"), "{role}: {refused}");
        }
        connection.close().await.unwrap();
        world.drop_role(&role).await;
    }
}

#[tokio::test]
async fn function_that_was_granted_to_a_role_records_nothing_of_another_table() {
    let world = World::new().await;
    world.install_outbox_with(&["--on-insert"]).await;
    let record = record_function(&world).await;
    let role = tenant_role(&world).await;
    world.sql(format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA snapshot_lifecycle TO {role}")).await;
    let mut connection = PgConnection::connect(&world.url_as(&role)).await.unwrap();
    execute(&mut connection, &ATTACHMENTS[0].replace("RECORD", &record)).await.unwrap();
    let forge = "INSERT INTO forged VALUES (gen_random_uuid(), 'confirmed', gen_random_uuid())";
    execute(&mut connection, forge).await.unwrap();
    assert_eq!(world.outbox_records().await, 0);
    let status = world.run(&["outbox", "status"]).await.json();
    let told: Vec<_> = status["installed"].as_array().unwrap().iter().map(|it| it["problem"].as_str()).collect();
    assert!(told.contains(&Some("it was installed for another table, and nothing is recorded")), "{told:?}");
    // The true one still records, also under another name.
    world.sql("ALTER TABLE public.events RENAME TO happenings").await;
    execute(&mut connection, "INSERT INTO public.happenings (status) VALUES ('confirmed')").await.unwrap();
    assert_eq!(world.outbox_records().await, 1);
    connection.close().await.unwrap();
    world.drop_role(&role).await;
}

#[tokio::test]
async fn nothing_of_the_callers_runs_as_the_owner_of_our_functions() {
    let world = World::new().await;
    world.install_outbox_with(&["--on-insert"]).await;
    let role = tenant_role(&world).await;
    let team = world.team().await;
    let mut connection = PgConnection::connect(&world.url_as(&role)).await.unwrap();
    // A temporary schema is searched first for types, unless it is named: under these names everything would be the caller's.
    execute(
        &mut connection,
        r"
            CREATE TEMP TABLE ran_as (who NAME);
            CREATE FUNCTION pg_temp.spy(anyelement) RETURNS bool LANGUAGE plpgsql AS $$
            BEGIN
                IF current_user <> session_user THEN INSERT INTO pg_temp.ran_as VALUES (current_user); END IF;
                RETURN true;
            END $$",
    )
    .await
    .unwrap();
    for base in ["uuid", "text", "jsonb", "timestamptz", "interval"] {
        let domain = format!("CREATE DOMAIN pg_temp.{base} AS pg_catalog.{base} CHECK (pg_temp.spy(VALUE))");
        execute(&mut connection, &domain).await.unwrap();
    }
    execute(
        &mut connection,
        &format!(
            r"
                INSERT INTO public.events (status) VALUES ('confirmed'); UPDATE public.events SET status = 'cancelled';
                SET app.current_team_id = '{team}';
                INSERT INTO public.snapshots (team_id, snapshot_type, data) VALUES ('{team}', 'offer', '{{}}')"
        ),
    )
    .await
    .unwrap();
    assert_eq!((world.outbox_records().await, world.snapshots().await.len()), (2, 1));
    let ran: Vec<String> =
        sqlx::query_scalar("SELECT who::pg_catalog.text FROM pg_temp.ran_as").fetch_all(&mut connection).await.unwrap();
    assert!(ran.is_empty(), "{ran:?}");
    connection.close().await.unwrap();
    world.drop_role(&role).await;
}

#[tokio::test]
async fn public_may_do_nothing_with_anything_of_ours() {
    let world = World::new().await;
    world.install_outbox_with(&["--on-insert"]).await;
    let may: Vec<String> =
        sqlx::query_scalar(include_str!("privileges_of_public.sql")).fetch_all(&world.pool).await.unwrap();
    assert!(may.is_empty(), "{may:#?}");
}

#[tokio::test]
async fn roles_reach_no_record_and_no_row_of_another_team() {
    let world = World::new().await;
    world.install_outbox_with(&["--on-insert"]).await;
    let (team, other) = (world.team().await, world.team().await);
    let event = world.event().await;
    world.sql("DELETE FROM snapshot_lifecycle.outbox").await;
    let kept = world.insert(&Snapshot::of(other).event(event)).await;
    let (tenant, worker) = (tenant_role(&world).await, world.worker_role());
    let record = record_function(&world).await;
    for role in [&tenant, &worker] {
        let mut connection = PgConnection::connect(&world.url_as(role)).await.unwrap();
        execute(&mut connection, &format!("SET app.current_team_id = '{team}'")).await.unwrap();
        for forbidden in [
            "INSERT INTO snapshot_lifecycle.outbox (event_id, status) VALUES (gen_random_uuid(), 'confirmed')",
            "UPDATE snapshot_lifecycle.outbox SET status = 'confirmed'",
            "COPY snapshot_lifecycle.outbox (event_id, status) FROM STDIN",
            "SELECT nextval('snapshot_lifecycle.outbox_id_seq')",
            "TRUNCATE snapshot_lifecycle.outbox",
            "UPDATE snapshot_lifecycle.retention SET keep_after_event = false",
            "CREATE FUNCTION snapshot_lifecycle.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TRIGGER mine AFTER INSERT ON snapshot_lifecycle.outbox FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "ALTER TABLE public.events DISABLE TRIGGER snapshot_lifecycle_outbox_update",
            "DROP TRIGGER snapshot_lifecycle_outbox_update ON public.events",
            "SET session_replication_role = replica",
        ] {
            execute(&mut connection, forbidden).await.expect_err(forbidden);
        }
        let own = format!("ALTER FUNCTION snapshot_lifecycle.{record}() OWNER TO {role}");
        execute(&mut connection, &own).await.expect_err(&own);
        connection.close().await.unwrap();
    }
    let mut connection = PgConnection::connect(&world.url_as(&tenant)).await.unwrap();
    execute(&mut connection, &format!("SET app.current_team_id = '{team}'; DELETE FROM public.snapshots"))
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert!(world.snapshots().await.contains(&kept) && world.outbox_records().await == 0);
    world.drop_role(&tenant).await;
    world.drop_role(&worker).await;
}
