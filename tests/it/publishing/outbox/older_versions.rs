//! `migrate` replaces a trigger that an older version installed.

use uuid::Uuid;

use crate::support::{Running, World, eventually};

/// As a version before inserts were left out has installed it.
async fn installed_by_an_older_version(world: &World) {
    world.sql(include_str!("undo_migrations.sql")).await;
    let install: String = sqlx::query_scalar(include_str!("../../../fixtures/outbox_trigger_of_2026-01.sql"))
        .fetch_one(&world.pool)
        .await
        .unwrap();
    world.sql(install).await;
}

#[tokio::test]
async fn migrate_brings_over_what_an_older_version_installed() {
    let world = World::new().await;
    installed_by_an_older_version(&world).await;
    world.sql("INSERT INTO public.events (status) VALUES ('lead')").await;
    assert_eq!(world.outbox_records().await, 1, "inserts are recorded");
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    world.sql("INSERT INTO public.events (status) VALUES ('lead')").await;
    assert_eq!(world.outbox_records().await, 1, "inserts are not");
    let trigger = world.run(&["outbox", "status"]).await.json()["installed"][0].clone();
    assert_eq!(trigger["columns"], serde_json::json!({ "id": "id", "status": "status", "team": "team_id" }));
    assert_eq!(
        (&trigger["on_insert"], &trigger["enabled"], &trigger["outdated"]),
        (&false.into(), &true.into(), &false.into())
    );
    let (team, event) = (world.team().await, world.event().await);
    world
        .sql(format!(
            r"
                BEGIN;
                UPDATE public.events SET status = 'confirmed', team_id = '{team}' WHERE id = '{event}';
                INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data)
                    VALUES ('{team}', 'offer', '{event}', '{{}}');
                COMMIT"
        ))
        .await;
    let recorded: (Uuid, Option<Uuid>, bool) = sqlx::query_as(
        "SELECT event_id, team_id, occurred_at < (SELECT created_at FROM public.snapshots) FROM snapshot_lifecycle.outbox ORDER BY id OFFSET 1",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(recorded, (event, Some(team), true));
    // Nothing is left for a second time, with or without it.
    assert_eq!(world.run(&["migrate"]).await.json()["applied"].as_array().unwrap().len(), 0);
    world.run(&["outbox", "install", "--on-insert"]).await;
    world.run(&["migrate"]).await;
    assert_eq!(world.run(&["outbox", "status"]).await.json()["installed"][0]["on_insert"], true);
}

#[tokio::test]
async fn migrate_waits_for_the_lock_of_a_table_with_an_older_trigger() {
    let world = World::new().await;
    installed_by_an_older_version(&world).await;
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.events IN ROW EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let migrate = Running::start(world.program(&["migrate"]));
    // By its transaction: between two tries there are only milliseconds in which it does not wait.
    let waiting_since = async || -> Option<time::OffsetDateTime> {
        let since = "SELECT max(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'";
        sqlx::query_scalar(since).fetch_one(&world.pool).await.unwrap()
    };
    eventually("migrate to wait for the table", async || waiting_since().await.is_some()).await;
    let first = waiting_since().await;
    eventually("its first try to be over", async || waiting_since().await.is_some_and(|since| Some(since) > first))
        .await;
    holder.rollback().await.unwrap();
    let migrated = migrate.ended().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert!(migrated.stderr.contains("has to wait for a lock"), "{migrated:?}");
    let trigger = world.run(&["outbox", "status"]).await.json()["installed"][0].clone();
    assert_eq!((&trigger["on_insert"], &trigger["outdated"]), (&false.into(), &false.into()));
}

#[tokio::test]
async fn migrate_tells_of_an_older_trigger_whose_columns_have_other_names() {
    let world = World::new().await;
    installed_by_an_older_version(&world).await;
    world.sql("ALTER TABLE public.events RENAME COLUMN status TO state").await;
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert!(migrated.stderr.contains("run `outbox install` again"), "{migrated:?}");
    let trigger = world.run(&["outbox", "status"]).await.json()["installed"][0].clone();
    assert_eq!((&trigger["on_insert"], &trigger["outdated"]), (&true.into(), &true.into()));
    assert_eq!(trigger["problem"], "it was installed by an older version");
    let worker = world.worker().await;
    let outdated = "the outbox's trigger is outdated: run `outbox install` again";
    eventually("the worker to say so", async || !worker.logged(outdated).is_empty()).await;
    // From one renewal to the next the outbox is read several times.
    let (_, given) = world.outbox_lease_after(None).await;
    let (_, renewed) = world.outbox_lease_after(Some(given)).await;
    world.outbox_lease_after(Some(renewed)).await;
    assert_eq!(worker.logged(outdated).len(), 1, "once");
    worker.stop().await;
    let again = world.run(&["outbox", "install", "--status-column", "state"]).await.json();
    assert_eq!(
        (&again["installed"][0]["on_insert"], &again["installed"][0]["outdated"]),
        (&false.into(), &false.into())
    );
}
