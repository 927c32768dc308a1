//! Whoever may create functions in a schema of the database gets nothing run by us: not by the worker, nor by an owner's command.

use snapshot_lifecycle::{NewSnapshot, SnapshotFilter, SnapshotStore};
use time::OffsetDateTime;

use crate::support::{BACKEND_TABLES, Servers, Snapshot, TempFile, World, set};

/// As if it were PostgreSQL's own, but closer to the types that we call it with. Each says that it was called, and fails.
const TRAPS: &str = r#"
    CREATE FUNCTION public.caught(what text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'trap % was run', what; END $$;
    DO $do$
    DECLARE types text; operator text;
        own text[] := '{bool,int2,int4,int8,float8,oid,regclass,regtype,regproc,text,varchar,name,"char",uuid,timestamptz,interval,tid,jsonb}';
    BEGIN
        PERFORM set_config('search_path', 'pg_catalog', true); -- so as not to be caught ourselves
        FOR types IN SELECT pg_catalog.unnest(string_to_array('text,text;text,text,text;text,name;text,name,name;text,text,text,text;text,text,name;text,regprocedure', ';')) LOOP
            EXECUTE pg_catalog.format('CREATE FUNCTION public.format(%s) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); RETURN NULL; END $f$', types, 'format ' || types);
        END LOOP;
        FOR types IN SELECT pg_catalog.unnest(string_to_array('uuid;text;oid;int8;timestamptz;bool', ';')) LOOP
            EXECUTE pg_catalog.format('CREATE FUNCTION public.unnest(%s[]) RETURNS SETOF %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); END $f$', types, types, 'unnest ' || types);
            EXECUTE pg_catalog.format('CREATE FUNCTION public.counted(state int8, item %s) RETURNS int8 LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); RETURN 0; END $f$', types, 'count ' || types);
            EXECUTE pg_catalog.format('CREATE AGGREGATE public.count(%s) (SFUNC = public.counted, STYPE = int8, INITCOND = 0)', types);
            EXECUTE pg_catalog.format('CREATE FUNCTION public.array_agged(state %s[], item %s) RETURNS %s[] LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); RETURN state; END $f$', types, types, types, 'array_agg ' || types);
            EXECUTE pg_catalog.format('CREATE AGGREGATE public.array_agg(%s) (SFUNC = public.array_agged, STYPE = %s[], INITCOND = ''{}'')', types, types);
        END LOOP;
        -- Cheap, so that a statement asks it before its other conditions.
        FOR types IN SELECT concat(a, ',', b) FROM unnest(own) AS a, unnest(own) AS b LOOP
            EXECUTE pg_catalog.format('CREATE FUNCTION public.trap(%s) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $f$ BEGIN PERFORM public.caught(%L); RETURN true; END $f$', types, 'operator ' || types);
            FOR operator IN SELECT o FROM unnest('{=,<>,<,<=,>,>=,+,-,&,||}'::text[]) AS o
                WHERE to_regoperator(concat('pg_catalog.', o, '(', types, ')')) IS NULL LOOP
                EXECUTE pg_catalog.format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap)', operator, split_part(types, ',', 1), split_part(types, ',', 2));
            END LOOP;
        END LOOP;
    END $do$;
"#;

#[tokio::test]
async fn nothing_of_another_schema_is_run() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world
        .sql(
            "ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN team_id UUID;
             CREATE TABLE public.snapshots (
                 id UUID PRIMARY KEY DEFAULT gen_random_uuid(), team_id UUID NOT NULL REFERENCES public.teams (id),
                 snapshot_type VARCHAR(50) NOT NULL, event_id UUID REFERENCES public.events (id), params JSONB DEFAULT '{}',
                 data JSONB NOT NULL, created_at TIMESTAMPTZ DEFAULT now(), expires_at TIMESTAMPTZ NOT NULL)",
        )
        .await;
    // Something that a query for triggers and rules finds.
    world
        .sql(
            "CREATE FUNCTION public.allow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
             CREATE TRIGGER allow BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.allow();
             CREATE TABLE public.notes (id UUID); CREATE RULE kept AS ON DELETE TO public.notes DO INSTEAD NOTHING",
        )
        .await;
    world.sql(TRAPS).await;
    let trapped = sqlx::query("SELECT format('%s', 'a'::text, 'b'::text)").execute(&world.pool).await;
    assert!(trapped.unwrap_err().to_string().contains("trap format"), "the traps work");

    let (team, event, other) = (world.team().await, world.event().await, world.event().await);
    let now = OffsetDateTime::now_utc();
    let entry = serde_json::json!({
        "snapshot_id": "s1", "type": "offer", "event_id": null, "params": {}, "data": {"n": 1},
        "created_at": "2026-01-05T12:00:00.000000", "expires_at": "2999-01-05T12:00:00.000000",
    });
    let file = TempFile::new(serde_json::json!({ "snapshots": { "s1": entry } }).to_string());
    let (team_id, event_id, other_id) = (team.to_string(), event.to_string(), other.to_string());
    let succeeds = async |arguments: &[&str]| {
        let done = world.run(arguments).await;
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    };
    succeeds(&["migrate"]).await;
    succeeds(&["outbox", "install"]).await;
    succeeds(&["outbox", "status"]).await;
    let survivors = world.insert_many(team, 2).await;
    world.insert_many(world.team().await, 7).await;
    world.insert(&Snapshot::of(team).event(event)).await;
    world.insert(&Snapshot::of(team).event(other)).await;
    world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    succeeds(&["snapshots", "list", "--team-id", &team_id]).await;
    succeeds(&["snapshots", "show", &survivors[0].to_string()]).await;
    succeeds(&["snapshots", "import", file.path(), "--team-id", &team_id]).await;
    succeeds(&["retention", "list"]).await;
    succeeds(&["retention", "set", "offer", "--ttl", "8d", "--restamp", "--yes"]).await;
    succeeds(&["sweep"]).await;
    succeeds(&["sweep", "--yes"]).await;
    succeeds(&["delete-event", &event_id]).await;
    succeeds(&["delete-event", &event_id, "--yes"]).await;
    succeeds(&["evict", "--max-snapshots-per-team", "5"]).await;
    succeeds(&["evict", "--max-snapshots-per-team", "5", "--yes"]).await;

    let variables = [("LIFECYCLE_SWEEP_INTERVAL", "200ms"), ("LIFECYCLE_EVICT_INTERVAL", "200ms")];
    let worker = world.worker_with(&variables).await;
    worker.reaches("pass_seconds_count{rule=\"ttl\"}", 1.0).await;
    worker.reaches("pass_seconds_count{rule=\"cap\"}", 1.0).await;
    world.publish_raw(&[crate::support::body_of_team(other, Some(team), "confirmed", now)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    world.sql(format!("UPDATE public.events SET status = 'confirmed' WHERE id = '{other_id}'")).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    let doctor = world.run(&["doctor"]).await;
    assert!(!doctor.stdout.contains("trap"), "{doctor:?}");
    assert!(!worker.log_text().contains("trap"), "{}", worker.log_text());
    worker.stop().await;
    succeeds(&["outbox", "uninstall"]).await;

    let store = SnapshotStore::connect(&world.database_url).unwrap();
    let id =
        store.create(team, &NewSnapshot::new("offer", serde_json::json!({})).with_event_id(event)).await.unwrap().id;
    assert!(store.get(team, id).await.unwrap().is_some());
    let filter = SnapshotFilter::default().with_type("offer").with_event_id(event);
    assert_eq!(store.list(team, &filter).await.unwrap().len(), 1);
    assert_eq!(store.delete_snapshots_for_event(team, event, OffsetDateTime::now_utc()).await.unwrap(), 1);
    assert!(!store.delete(team, id).await.unwrap());
    store.close().await;
    assert!(world.snapshots().await.is_superset(&set([survivors[0], survivors[1]])));
    assert_eq!(world.dead_letters().await, 0);
}
