//! Whoever may create functions in a schema of the database gets nothing run by us: not by the worker, nor by an owner's command.

use snapshot_lifecycle::{NewSnapshot, SnapshotFilter, SnapshotStore};
use time::OffsetDateTime;

use crate::support::{BACKEND_TABLES, Servers, Snapshot, TempFile, World, set};

#[tokio::test]
async fn nothing_of_another_schema_is_run() {
    let world = World::bare(Servers::shared()).await;
    world.sql(BACKEND_TABLES).await;
    world
        .sql(
            r"
                ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN team_id UUID;
                CREATE TABLE public.snapshots (
                    id UUID PRIMARY KEY DEFAULT gen_random_uuid(), team_id UUID NOT NULL REFERENCES public.teams (id),
                    snapshot_type VARCHAR(50) NOT NULL, event_id UUID REFERENCES public.events (id),
                    params JSONB DEFAULT '{}', data JSONB NOT NULL,
                    created_at TIMESTAMPTZ DEFAULT now(), expires_at TIMESTAMPTZ NOT NULL)",
        )
        .await;
    // Something that a query for triggers and rules finds.
    world
        .sql(
            r"
                CREATE FUNCTION public.allow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
                CREATE TRIGGER allow BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.allow();
                CREATE TABLE public.notes (id UUID); CREATE RULE kept AS ON DELETE TO public.notes DO INSTEAD NOTHING",
        )
        .await;
    world.sql(include_str!("create_traps.sql")).await;
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
