//! Everything through PgBouncer with its default configuration, in transaction mode (no session to rely on) and in session mode.

use serde_json::json;
use snapshot_lifecycle::{NewSnapshot, SnapshotFilter, SnapshotStore};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{BACKEND_TABLES, Servers, Snapshot, World, body, set};

#[tokio::test]
async fn main_job_needs_no_session() {
    main_job("transaction").await;
}

#[tokio::test]
async fn main_job_bears_a_session() {
    main_job("session").await;
}

async fn main_job(mode: &str) {
    let servers = Servers::private();
    let pair = servers.pair();
    let mut world = World::bare(pair.clone()).await;
    world.sql(BACKEND_TABLES).await;
    let database = world.database_url.rsplit('/').next().unwrap().to_owned();
    let pooler = pair.pooler(mode);
    world.database_url = format!("{}/{database}", pooler.rsplit_once('/').unwrap().0);

    let migrations = tokio::join!(world.run(&["migrate"]), world.run(&["migrate"]));
    assert_eq!((migrations.0.code, migrations.1.code), (0, 0), "{migrations:?}");
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    let ids = world.insert_many(world.team().await, 4).await;
    let variables = [
        ("LIFECYCLE_SWEEP_INTERVAL", "100ms"),
        ("LIFECYCLE_EVICT_INTERVAL", "100ms"),
        ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "3"),
        ("LIFECYCLE_DELETE_RATE", "1000"),
    ];
    // Two workers, so that statements of several clients meet on the pooler's connections.
    let (one, two) = (world.worker_with(&variables).await, world.worker_with(&variables).await);
    let mut bodies = vec![body(event, "confirmed", OffsetDateTime::now_utc())];
    bodies.resize_with(200, || body(event, "confirmed", OffsetDateTime::now_utc()));
    world.publish_raw(&bodies).await;
    crate::support::eventually("all messages to be applied and all passes done", async || {
        let sum = |series: &str| one.metric(series) + two.metric(series);
        sum("messages_total{outcome=\"applied\"}") >= 200.0
            && sum("snapshots_deleted_total{rule=\"ttl\"}") >= 1.0
            && sum("snapshots_deleted_total{rule=\"cap\"}") >= 1.0
    })
    .await;
    assert_eq!(world.snapshots().await, set([ids[1], ids[2], ids[3]]));
    assert_eq!(world.dead_letters().await, 0);

    // The outbox: nobody is told of a record here, so it is looked for.
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    let installed = world.run(&["outbox", "install"]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    world.insert(&Snapshot::of(team).event(event)).await;
    world.sql(format!("UPDATE public.events SET status = 'Confirmed' WHERE id = '{event}'")).await;
    crate::support::eventually("the snapshot to be gone", async || world.snapshots().await.len() == 3).await;
    one.stop().await;
    two.stop().await;
    commands_and_store(&world, team).await;
}

/// What people and Rust programs do beside the worker.
async fn commands_and_store(world: &World, team: Uuid) {
    let there = world.snapshots().await;
    let expired = world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    for command in [
        &["sweep", "--yes"][..],
        &["evict", "--max-snapshots-per-team", "3", "--yes"],
        &["retention", "list"],
        &["retention", "set", "offer", "--ttl", "8d", "--restamp", "--yes"],
        &["snapshots", "list", "--team-id", &team.to_string()],
        &["outbox", "status"],
        &["outbox", "uninstall", "--yes"],
        &["delete-event", &Uuid::new_v4().to_string(), "--yes"],
        &["migrate"],
    ] {
        let done = world.run(command).await;
        assert_eq!(done.code, 0, "{command:?}: {done:?}");
        done.json();
    }
    assert!(!there.contains(&expired) && world.snapshots().await == there);
    let doctor = world.run(&["doctor"]).await;
    let pooler =
        doctor.json()["checks"].as_array().unwrap().iter().find(|line| line["check"] == "database.pooler").cloned();
    assert_eq!(pooler.unwrap()["state"], "ok", "{doctor:?}");

    // Several at once, so that their transactions meet on the pooler's connections.
    let store = SnapshotStore::connect(&world.database_url).unwrap();
    let teams = [team, world.team().await, world.team().await];
    let made = futures_util::future::join_all(teams.iter().cycle().take(30).map(async |team| {
        let made = store.create(*team, &NewSnapshot::new("offer", json!({"of": team}))).await.unwrap();
        assert_eq!(store.get(*team, made.id).await.unwrap().unwrap().data, json!({"of": team}));
        (*team, made.id)
    }))
    .await;
    for (n, (team, id)) in made.iter().enumerate() {
        let other = teams[(n + 1) % 3];
        assert!(store.get(other, *id).await.unwrap().is_none(), "another team's");
        assert!(store.list(*team, &SnapshotFilter::default()).await.unwrap().iter().any(|it| it.id == *id));
        assert!(!store.delete(other, *id).await.unwrap() && store.delete(*team, *id).await.unwrap());
    }
    store.close().await;
    assert_eq!(world.snapshots().await, there);
}
