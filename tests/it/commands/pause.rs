//! `pause` and `resume`: answers, usage, rights.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::support::{Finished, Servers, World, checkup, finish, program};

fn list(answer: &Value, key: &str) -> Vec<Value> {
    answer[key].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|pause| pause["what"].as_str().unwrap()).collect()
}

async fn run_as(world: &World, url: &str, arguments: &[&str]) -> Finished {
    let mut command = world.program(arguments);
    command.env("DATABASE_URL", url);
    tokio::task::spawn_blocking(move || finish(command)).await.unwrap()
}

#[tokio::test]
async fn pause_says_who_and_until_when_and_so_does_doctor() {
    let world = World::new().await;
    let mut command = world.program(&["pause", "sweep", "--for", "1h"]);
    command.env("USER", "ada");
    let paused = list(&finish(command).json(), "paused");
    assert_eq!(names(&paused), ["sweep"]);
    assert!(paused[0]["by_user"].as_str().unwrap().starts_with("ada@"), "{paused:?}");
    assert!(!paused[0]["by_role"].as_str().unwrap().is_empty() && paused[0]["until"].is_string(), "{paused:?}");
    let table = world.run(&["pause", "--output", "table"]).await;
    assert!(table.stdout.contains("(ada@") && table.stdout.contains("until 2"), "{table:?}");
    let checked = checkup(&world, &[]).await;
    checked.has("database.pause", "warning", "sweep is paused since 2", "`snapshot-lifecycle resume sweep`");
    let resumed = world.run(&["resume"]).await.json();
    assert_eq!((names(&list(&resumed, "resumed")), list(&resumed, "paused").len()), (vec!["sweep"], 0));
    let again = world.run(&["resume", "--output", "table"]).await;
    assert!(again.code == 0 && again.stdout.contains("it was not paused"), "{again:?}");
    checkup(&world, &[]).await.has("database.pause", "ok", "nothing is paused", "");
}

#[tokio::test]
async fn of_pauses_at_once_the_longest_holds_and_each_activity_has_its_own() {
    let world = World::new().await;
    let both: [&[&str]; 4] =
        [&["pause", "all", "--for", "1h"], &["pause", "all"], &["pause", "all", "--for", "2h"], &["pause", "evict"]];
    let [first, second, third, fourth] = both.map(|arguments| world.run(arguments));
    let (first, second, third, fourth) = tokio::join!(first, second, third, fourth);
    for done in [first, second, third, fourth] {
        assert_eq!(done.code, 0, "{done:?}");
    }
    let before = list(&world.run(&["pause"]).await.json(), "paused");
    assert_eq!(names(&before), ["sweep", "evict", "consume"]);
    assert!(before.iter().all(|pause| pause["until"].is_null()), "{before:?}");
    let same = list(&world.run(&["pause", "sweep", "--for", "5m"]).await.json(), "paused");
    assert_eq!(same, before, "never sooner, and once is enough");
    let resumed = world.run(&["resume", "evict"]).await.json();
    assert_eq!(names(&list(&resumed, "paused")), ["sweep", "consume"]);
    // An end that lies beyond every calendar is none; a pause that is over is none either.
    world.sql("UPDATE snapshot_lifecycle.pause SET until = 'infinity' WHERE what = 'sweep'; UPDATE snapshot_lifecycle.pause SET until = '-infinity' WHERE what = 'consume'").await;
    let paused = list(&world.run(&["pause"]).await.json(), "paused");
    assert!(names(&paused) == ["sweep"] && paused[0]["until"].is_null(), "{paused:?}");
    let again = list(&world.run(&["pause", "consume", "--for", "1m"]).await.json(), "paused");
    assert!(names(&again) == ["sweep", "consume"] && again[1]["since"] != before[2]["since"], "{again:?}");
}

#[tokio::test]
async fn wrong_usage_changes_nothing() {
    let world = World::new().await;
    for wrong in [
        &["pause", "everything"][..],
        &["pause", "sweep", "evict"],
        &["pause", "--for", "5m"],
        &["pause", "sweep", "--for", "5"],
        &["pause", "sweep", "--for", "0s"],
        &["pause", "sweep", "--for", "-5m"],
        &["pause", "sweep", "--for", "99999999d"],
        &["resume", "nothing"],
        &["resume", "--for", "5m"],
    ] {
        let refused = world.run(wrong).await;
        assert_eq!(refused.code, 2, "{wrong:?}: {refused:?}");
    }
    assert_eq!(finish(program(&["pause", "sweep"])).code, 2, "without DATABASE_URL");
    assert!(list(&world.run(&["pause"]).await.json(), "paused").is_empty());
}

#[tokio::test]
async fn only_the_owner_pauses_the_worker_reads_and_a_tenant_sees_nothing() {
    let world = World::new().await;
    let (worker, tenant) = (world.worker_role(), format!("tenant_{}", Uuid::new_v4().simple()));
    world
        .sql(format!(
            r"
                CREATE ROLE {tenant} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA snapshot_lifecycle TO {tenant};
                GRANT SELECT, INSERT, DELETE ON public.snapshots TO {tenant}"
        ))
        .await;
    assert_eq!(world.run(&["pause", "evict"]).await.code, 0);
    let (as_worker, as_tenant) = (world.url_as(&worker), world.url_as(&tenant));
    let shown = run_as(&world, &as_worker, &["pause"]).await;
    assert_eq!(names(&list(&shown.json(), "paused")), ["evict"]);
    for (url, arguments) in [
        (&as_worker, &["pause", "sweep"][..]),
        (&as_worker, &["resume"]),
        (&as_tenant, &["pause"]),
        (&as_tenant, &["pause", "sweep"]),
        (&as_tenant, &["resume"]),
    ] {
        let refused = run_as(&world, url, arguments).await;
        assert_eq!(refused.code, 1, "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains("the one that ran `migrate`"), "{refused:?}");
    }
    for (url, forbidden) in [
        (&as_worker, "DELETE FROM snapshot_lifecycle.pause"),
        (&as_worker, "INSERT INTO snapshot_lifecycle.pause (what) VALUES ('sweep')"),
        (&as_worker, "UPDATE snapshot_lifecycle.pause SET until = now()"),
        (&as_tenant, "SELECT FROM snapshot_lifecycle.pause"),
        (&as_tenant, "DELETE FROM snapshot_lifecycle.pause"),
    ] {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let tried = sqlx::raw_sql(AssertSqlSafe(forbidden.to_owned())).execute(&mut connection).await;
        assert!(tried.unwrap_err().to_string().contains("permission denied"), "{forbidden}");
        connection.close().await.unwrap();
    }
    // An operator's own role, as deploy/operating.md says.
    world.sql(format!("GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_lifecycle.pause TO {tenant}")).await;
    for arguments in [&["pause", "sweep"][..], &["pause", "sweep", "--for", "1h"], &["resume"]] {
        let done = run_as(&world, &as_tenant, arguments).await;
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    }
    // The role as an earlier version's script made it.
    world.sql(format!("REVOKE SELECT ON snapshot_lifecycle.pause FROM {worker}")).await;
    let refused = run_as(&world, &as_worker, &["sweep"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("it lacks SELECT on snapshot_lifecycle.pause"), "{refused:?}");
    assert!(refused.stderr.contains("deploy/sql/worker-role.sql"), "{refused:?}");
    world.drop_role(&worker).await;
    world.drop_role(&tenant).await;
}

#[tokio::test]
async fn database_that_is_not_migrated_is_told_apart() {
    let world = World::bare(Servers::shared()).await;
    for arguments in [&["pause"][..], &["pause", "all"], &["resume"]] {
        let refused = world.run(arguments).await;
        assert!(refused.code == 1 && refused.stderr.contains("snapshot-lifecycle migrate"), "{refused:?}");
    }
}
