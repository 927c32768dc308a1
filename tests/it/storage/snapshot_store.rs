//! The library's storage of snapshots: teams that never see each other's, many writers, TTLs, roles.

use serde_json::json;
use snapshot_lifecycle::{Cursor, NewSnapshot, SnapshotFilter, SnapshotStore, StoreError};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, World, as_user, set};

fn store(world: &World) -> SnapshotStore {
    SnapshotStore::connect(&world.database_url).unwrap()
}

/// A store whose role row-level security binds: what the backend's API role is.
async fn bound_store(world: &World) -> (SnapshotStore, String) {
    let role = format!("api_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            r"
                CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT, INSERT, DELETE ON public.snapshots TO {role};
                GRANT USAGE ON SCHEMA snapshot_lifecycle TO {role};
                GRANT SELECT ON snapshot_lifecycle.retention TO {role}"
        ))
        .await;
    (SnapshotStore::connect(&as_user(&world.database_url, &role, "secret")).unwrap(), role)
}

async fn drop_role(world: &World, role: &str) {
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn ttl_comes_from_the_type_unless_an_expiry_is_given() {
    let world = World::new().await;
    let (store, role) = bound_store(&world).await;
    let team = world.team().await;
    for (kind, days) in [("offer", 7), ("rooms", 7), ("qna", 365), ("anything", 7)] {
        let made = store.create(team, &NewSnapshot::new(kind, json!({ "n": 1 }))).await.unwrap();
        assert_eq!(made.expires_at - made.created_at.unwrap(), Duration::days(days), "{kind}");
        assert_eq!((made.team_id, made.params), (team, Some(json!({}))));
    }
    let at = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() + Duration::HOUR;
    let new = NewSnapshot::new("qna", json!([1, "two"])).with_expires_at(at).with_params(json!({ "page": 1 }));
    let id = store.create(team, &new).await.unwrap().id;
    let got = store.get(team, id).await.unwrap().unwrap();
    assert_eq!((got.metadata.expires_at, &got.data), (at, &json!([1, "two"])));
    assert_eq!(got.metadata.params, Some(json!({ "page": 1 })));
    let passed_on = serde_json::to_string(&got).unwrap();
    assert_eq!(serde_json::from_str::<snapshot_lifecycle::Snapshot>(&passed_on).unwrap(), got);
    store.close().await;
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn another_teams_snapshot_is_neither_seen_nor_deleted() {
    let world = World::new().await;
    let (bound, role) = bound_store(&world).await;
    for store in [&store(&world), &bound] {
        let (team, other, event) = (world.team().await, world.team().await, world.event().await);
        let mine = store.create(team, &NewSnapshot::new("offer", json!(1)).with_event_id(event)).await.unwrap().id;
        let theirs = store.create(other, &NewSnapshot::new("offer", json!(2)).with_event_id(event)).await.unwrap().id;
        assert!(store.get(team, theirs).await.unwrap().is_none());
        assert!(!store.delete(team, theirs).await.unwrap());
        let listed = store.list(team, &SnapshotFilter::default()).await.unwrap();
        assert_eq!(listed.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), [mine]);
        let later = OffsetDateTime::now_utc() + Duration::MINUTE;
        assert_eq!(store.delete_snapshots_for_event(team, event, later).await.unwrap(), 1);
        assert!(store.get(other, theirs).await.unwrap().is_some());
        assert!(store.delete(other, theirs).await.unwrap());
        assert!(!store.delete(other, theirs).await.unwrap(), "only once");
        store.close().await;
    }
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn expired_snapshots_are_never_shown() {
    let world = World::new().await;
    let store = store(&world);
    let (team, now) = (world.team().await, OffsetDateTime::now_utc());
    world.insert(&Snapshot::of(team).expires_at(now - Duration::SECOND)).await;
    let at_the_limit = world.insert(&Snapshot::of(team).expires_at(now)).await;
    let alive = world.insert(&Snapshot::of(team).expires_at(now + Duration::MINUTE)).await;
    let listed = store.list(team, &SnapshotFilter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), [alive]);
    assert!(store.get(team, at_the_limit).await.unwrap().is_none());
    assert!(store.get(team, alive).await.unwrap().is_some());
    store.close().await;
}

#[tokio::test]
async fn end_of_an_event_follows_the_rule_of_the_messages() {
    let world = World::new().await;
    let store = store(&world);
    let (team, event, now) = (world.team().await, world.event().await, OffsetDateTime::now_utc());
    let moment = (now - Duration::HOUR).replace_nanosecond(0).unwrap();
    world.insert(&Snapshot::of(team).event(event).created_at(moment - Duration::SECOND)).await;
    world.insert(&Snapshot::of(team).event(event).created_at(moment)).await;
    let newer = world.insert(&Snapshot::of(team).event(event).created_at(moment + Duration::MICROSECOND)).await;
    let qna = world.insert(&Snapshot::of(team).event(event).kind("qna").created_at(moment)).await;
    let undated = world.insert(&Snapshot::of(team).event(event).without_created_at()).await;
    assert_eq!(store.delete_snapshots_for_event(team, event, moment).await.unwrap(), 2);
    assert_eq!(world.snapshots().await, set([newer, qna, undated]));
    assert_eq!(store.delete_snapshots_for_event(team, event, moment).await.unwrap(), 0);

    let to_come = world.insert(&Snapshot::of(team).event(event).created_at(now + Duration::HOUR)).await;
    assert_eq!(store.delete_snapshots_for_event(team, event, now + 2 * Duration::HOUR).await.unwrap(), 1);
    assert_eq!(world.snapshots().await, set([to_come, qna, undated]), "not made by now");
    store.close().await;
}

#[tokio::test]
async fn pages_hold_each_snapshot_once_newest_first() {
    let world = World::new().await;
    let store = store(&world);
    let team = world.team().await;
    let ids = world.insert_many(team, 25).await;
    let undated = world.insert(&Snapshot::of(team).without_created_at()).await;
    let mut seen = Vec::new();
    let mut filter = SnapshotFilter::default().with_limit(10);
    loop {
        let page = store.list(team, &filter).await.unwrap();
        seen.extend(page.iter().map(|snapshot| snapshot.id));
        let Some(last) = page.last().map(Cursor::from) else { break };
        filter = filter.with_after(last.to_string().parse::<Cursor>().unwrap());
    }
    let expected: Vec<_> = ids.into_iter().rev().chain([undated]).collect();
    assert_eq!(seen, expected, "a row without created_at counts as oldest");
    store.close().await;
}

#[tokio::test]
async fn several_writers_at_once_lose_nothing() {
    let world = World::new().await;
    let (bound, role) = bound_store(&world).await;
    let teams = [world.team().await, world.team().await];
    let writers = (0..8).map(|writer| {
        let (store, team) = (bound.clone(), teams[writer % 2]);
        tokio::spawn(async move {
            for n in 0..40 {
                let data = json!({ "writer": writer, "n": n });
                let id = store.create(team, &NewSnapshot::new("offer", data.clone())).await.unwrap().id;
                assert_eq!(store.get(team, id).await.unwrap().unwrap().data, data);
                if n % 4 == 0 {
                    assert!(store.delete(team, id).await.unwrap());
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for team in teams {
        let filter = SnapshotFilter::default().with_limit(1000);
        assert_eq!(bound.list(team, &filter).await.unwrap().len(), 4 * 30);
    }
    bound.close().await;
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let world = World::new().await;
    let (bound, role) = bound_store(&world).await;
    let (team, new) = (world.team().await, NewSnapshot::new("offer", json!({})));
    let nobody = bound.create(Uuid::new_v4(), &new).await;
    assert!(matches!(nobody, Err(StoreError::UnknownTeamOrEvent(_))), "{nobody:?}");
    let no_event = bound.create(team, &new.clone().with_event_id(Uuid::new_v4())).await;
    assert!(matches!(no_event, Err(StoreError::UnknownTeamOrEvent(_))), "{no_event:?}");
    world.sql(format!("REVOKE INSERT ON public.snapshots FROM {role}")).await;
    let denied = bound.create(team, &new).await;
    assert!(matches!(denied, Err(StoreError::NotPermitted(_))), "{denied:?}");
    bound.close().await;
    let away = SnapshotStore::connect("postgres://nobody@127.0.0.1:1/none").unwrap();
    match away.get(team, Uuid::new_v4()).await {
        Err(StoreError::Storage(error)) => assert!(error.is_transient(), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(SnapshotStore::connect("mysql://host/db").is_err());
    drop_role(&world, &role).await;
}

#[tokio::test]
async fn instants_that_no_calendar_has_neither_panic_nor_hide_a_row() {
    let world = World::new().await;
    let store = store(&world);
    let team = world.team().await;
    let ordinary = world.insert_many(team, 3).await;
    world
        .sql(format!(
            r"
                INSERT INTO public.snapshots (team_id, snapshot_type, data, created_at, expires_at)
                SELECT '{team}', 'offer', '{{}}', at::timestamptz, until::timestamptz
                FROM unnest('{{-infinity,4000-01-01 BC,infinity,20000-01-01,294276-12-31}}'::text[]) AS at,
                     unnest('{{-infinity,0044-03-15 BC,20000-01-01,infinity}}'::text[]) AS until"
        ))
        .await;
    let all = world.snapshots().await;
    let shown = all.len() - 2 * 5;
    for limit in [1, 2, 1000] {
        let mut filter = SnapshotFilter::default().with_limit(limit);
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let page = store.list(team, &filter).await.unwrap();
            seen.extend(page.iter().map(|snapshot| snapshot.id));
            let Some(last) = page.last() else { break };
            filter = filter.with_after(last);
        }
        assert_eq!(seen.len(), shown, "pages of {limit}");
        assert!(ordinary.iter().all(|id| seen.contains(id)));
    }
    let listed = world.run(&["snapshots", "list", "--team-id", &team.to_string(), "--output", "json"]).await;
    assert_eq!((listed.code, listed.json().as_array().unwrap().len()), (0, shown), "{listed:?}");
    for id in &all {
        store.get(team, *id).await.unwrap();
        let one = world.run(&["snapshots", "show", &id.to_string(), "--output", "json"]).await;
        assert_eq!(one.code, 0, "{one:?}");
        one.json();
    }
    store.close().await;
}

#[tokio::test]
async fn instants_beyond_the_calendar_are_errors_of_the_caller() {
    let world = World::new().await;
    let store = store(&world);
    let (team, event) = (world.team().await, world.event().await);
    let west = time::UtcOffset::from_hms(-1, 0, 0).unwrap();
    let last = time::Date::MAX.with_hms(23, 30, 0).unwrap().assume_offset(west);
    let first = time::Date::MIN.with_hms(0, 0, 0).unwrap().assume_utc();
    for at in [last, first] {
        let new = NewSnapshot::new("offer", json!(1)).with_expires_at(at);
        let refused = store.create(team, &new).await;
        assert!(matches!(&refused, Err(error @ StoreError::InvalidInput(_)) if !error.is_transient()), "{refused:?}");
        let refused = store.delete_snapshots_for_event(team, event, at).await;
        assert!(matches!(&refused, Err(error @ StoreError::InvalidInput(_)) if !error.is_transient()), "{refused:?}");
    }
    assert!(world.snapshots().await.is_empty());
    store.close().await;
    match store.get(team, Uuid::new_v4()).await {
        Err(StoreError::Storage(error)) => assert!(!error.is_transient(), "closed for good: {error:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn store_is_made_outside_of_a_runtime() {
    assert!(SnapshotStore::connect("postgres://nobody@127.0.0.1:1/none").is_ok());
    assert!(SnapshotStore::connect("postgres://nobody@127.0.0.1:1/none?sslmod=require").is_err());
}
