//! The library's store: its connections, its timeouts, what a call costs, and which errors pass.

use std::time::Duration;

use serde_json::json;
use snapshot_lifecycle::{NewSnapshot, SnapshotFilter, SnapshotStore, StoreError};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::support::{Proxy, World, host_of};

fn store(world: &World) -> SnapshotStore {
    SnapshotStore::connect(&world.database_url).unwrap()
}

/// The names of the connections to the world's database, but for the test's own.
async fn names(world: &World) -> Vec<String> {
    let sql = r"
        SELECT DISTINCT application_name FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE '%library%' ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&world.pool).await.unwrap()
}

fn transient(result: Result<impl std::fmt::Debug, StoreError>) -> String {
    match result {
        Err(StoreError::Storage(error)) if error.is_transient() => error.one_line(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn connections_have_names_of_their_own() {
    let world = World::new().await;
    let team = world.team().await;
    let plain = store(&world);
    let named = store(&world).with_application_name("library of the test");
    let joiner = if world.database_url.contains('?') { '&' } else { '?' };
    let by_url = format!("{}{joiner}application_name=library%20by%20URL", world.database_url);
    let by_url = SnapshotStore::connect(&by_url).unwrap();
    for store in [&plain, &named, &by_url] {
        assert_eq!(store.get(team, Uuid::nil()).await.unwrap(), None);
    }
    assert_eq!(names(&world).await, ["library by URL", "library of the test", "snapshot-lifecycle library"]);
    for store in [plain, named, by_url] {
        store.close().await;
    }
}

#[tokio::test]
async fn callers_own_pool_is_used_and_left_open() {
    let world = World::new().await;
    let team = world.team().await;
    let options = world.pool.connect_options().as_ref().clone().application_name("library on a pool");
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(200));
    let pool = pool.connect_lazy_with(options);
    let store = SnapshotStore::with_pool(pool.clone()).with_max_connections(5).with_application_name("library ignored");
    let id = store.create(team, &NewSnapshot::new("offer", json!(1))).await.unwrap().id;
    assert_eq!(names(&world).await, ["library on a pool"]);
    let held = pool.acquire().await.unwrap();
    let busy = transient(store.get(team, id).await);
    assert!(busy.contains("all 1 connections"), "{busy}");
    drop(held);
    store.close().await;
    assert!(store.get(team, id).await.unwrap().is_some(), "the pool is the program's, and open");
    pool.close().await;
    let closed = store.get(team, id).await.unwrap_err();
    assert!(!closed.is_transient(), "{closed:?}");
}

#[tokio::test]
async fn settings_of_a_call_end_with_its_transaction() {
    let world = World::new().await;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(world.pool.connect_options().as_ref().clone());
    let store = SnapshotStore::with_pool(pool.clone());
    let settings = async || {
        let sql = r"
            SELECT concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'),
                             current_setting('enable_seqscan'), current_setting('app.current_team_id', true))";
        sqlx::query_scalar::<_, String>(sql).fetch_one(&pool).await.unwrap()
    };
    let before = settings().await;
    store.create(world.team().await, &NewSnapshot::new("offer", json!(1))).await.unwrap();
    assert_eq!(settings().await.trim_end_matches('|'), before);
}

#[tokio::test]
async fn call_waits_neither_for_a_connection_nor_for_a_lock_without_end() {
    let world = World::new().await;
    let (team, new) = (world.team().await, NewSnapshot::new("offer", json!(1)));
    let store = store(&world).with_max_connections(1).with_acquire_timeout(Duration::from_secs(1));
    let hasty = store.clone().with_statement_timeout(Duration::from_secs(3));
    hasty.create(team, &new).await.unwrap();
    let mut blocker = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots").execute(&mut *blocker).await.unwrap();
    let (one, other) = tokio::join!(hasty.create(team, &new), hasty.create(team, &new));
    let texts = [transient(one), transient(other)];
    assert!(texts.iter().any(|text| text.contains("timeout")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("all 1 connections")), "{texts:?}");
    blocker.rollback().await.unwrap();
    hasty.create(team, &new).await.unwrap();
    store.with_statement_timeout(Duration::ZERO).get(team, Uuid::nil()).await.ok(); // one millisecond, not for ever
    hasty.with_statement_timeout(Duration::MAX).create(team, &new).await.unwrap();
}

#[tokio::test]
async fn statement_timeout_holds_on_the_server_and_bounds_the_wait_for_a_lock() {
    let world = World::new().await;
    let (team, new) = (world.team().await, NewSnapshot::new("offer", json!(1)));
    world
        .sql(
            r"
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN
                    NEW.params := jsonb_build_array(current_setting('statement_timeout'), current_setting('lock_timeout'));
                    RETURN NEW;
                END $$;
                CREATE TRIGGER note BEFORE INSERT ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.note()",
        )
        .await;
    let store = store(&world);
    assert_eq!(store.create(team, &new).await.unwrap().params, Some(json!(["5s", "2s"])), "the default");
    for (timeout, seen) in [
        (Duration::from_secs(3), json!(["3s", "2s"])),
        (Duration::from_secs(1), json!(["1s", "1s"])),
        (Duration::MAX, json!(["20d", "2s"])),
    ] {
        let created = store.clone().with_statement_timeout(timeout).create(team, &new).await.unwrap();
        assert_eq!(created.params, Some(seen), "{timeout:?}");
    }
}

#[tokio::test]
async fn values_that_the_database_cannot_hold_are_errors_of_the_caller() {
    let world = World::new().await;
    let (store, team) = (store(&world), world.team().await);
    let nul = NewSnapshot::new("o\0ffer", json!(1));
    let nul_in_json = NewSnapshot::new("offer", json!({ "text": "a\0b" }));
    let nul_in_params = NewSnapshot::new("offer", json!(1)).with_params(json!("\0"));
    for new in [nul, nul_in_json, nul_in_params] {
        let refused = store.create(team, &new).await.unwrap_err();
        assert!(matches!(refused, StoreError::InvalidInput(_)) && !refused.is_transient(), "{refused:?}");
    }
    let refused = store.list(team, &SnapshotFilter::default().with_type("\0")).await.unwrap_err();
    assert!(matches!(refused, StoreError::InvalidInput(_)), "{refused:?}");
    assert!(world.snapshots().await.is_empty());
    store.close().await;
}

/// As the documentation of `SnapshotStore` says, and one more for what the pool asks of a connection that comes back.
#[tokio::test]
async fn call_takes_no_more_round_trips_than_documented() {
    const CALLS: usize = 20;
    let world = World::new().await;
    let team = world.team().await;
    let way = Proxy::before(host_of(&world.database_url)).await;
    let url = way.url(&world.database_url);
    let store = SnapshotStore::connect(&url).unwrap().with_max_connections(1);
    let id = store.create(team, &NewSnapshot::new("offer", json!(1))).await.unwrap().id;
    let before = way.requests();
    for _ in 0..CALLS {
        assert!(store.get(team, id).await.unwrap().is_some());
    }
    let each = (way.requests() - before) as f64 / CALLS as f64;
    assert!((6.0..7.1).contains(&each), "{each} round trips");
    store.close().await;
}

#[tokio::test]
async fn dropped_calls_leave_the_connections_to_others() {
    let world = World::new().await;
    let team = world.team().await;
    let store = store(&world).with_max_connections(2);
    let new = NewSnapshot::new("offer", json!(1));
    for wait in 0..40 {
        let call = store.create(team, &new);
        tokio::time::timeout(Duration::from_micros(wait * 100), call).await.ok();
    }
    let kept = world.snapshots().await.len();
    store.create(team, &NewSnapshot::new("offer", json!(2))).await.unwrap();
    let listed = store.list(team, &SnapshotFilter::default()).await.unwrap();
    assert!(listed.len() > kept && listed.len() <= 41, "{} after {kept}", listed.len());
    store.close().await;
}

#[test]
fn store_may_be_held_by_any_state_of_a_program() {
    fn is_shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    fn is_sent<F: Future + Send>(_: &F) {}
    let store = SnapshotStore::connect("postgres://user:hidden@127.0.0.1:1/none").unwrap();
    is_shared(&store);
    is_sent(&store.get(Uuid::nil(), Uuid::nil()));
    assert!(!format!("{store:?}").contains("hidden"));
    let error = SnapshotStore::connect("postgres://user:hidden@h:port/none").unwrap_err().to_string();
    assert!(error.starts_with("database_url ") && !error.contains("DATABASE_URL"), "{error}");
}
