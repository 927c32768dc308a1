//! The statements that operating.md shows to those who need no worker.

use sqlx::AssertSqlSafe;
use time::{Duration, OffsetDateTime};

use crate::support::{BACKEND_TABLES, SEED, Servers, Snapshot, World};

/// Keeps the jobs, as pg_cron does, and leaves it to the test to run them.
const CRON: &str = r"
    CREATE SCHEMA cron;
    CREATE TABLE cron.job (command text);
    CREATE FUNCTION cron.schedule(name text, schedule text, command text) RETURNS void LANGUAGE sql
        AS 'INSERT INTO cron.job VALUES (command)';";

#[tokio::test]
async fn three_statements_do_for_a_small_site_and_the_worker_takes_over_from_them() {
    let world = World::bare(Servers::shared()).await;
    world.sql(format!("{BACKEND_TABLES}{SEED}{CRON} ALTER TABLE events ADD COLUMN status text")).await;
    let document = include_str!("../../../deploy/operating.md");
    let statements =
        document.split_once("```sql\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block of SQL");
    world.sql(statements.0).await;

    let (team, event) = (world.team().await, world.event().await);
    let of_event = world.insert(&Snapshot::of(team).event(event)).await;
    let kept = world.insert(&Snapshot::of(team).event(event).kind("qna")).await;
    let expired = world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::now_utc() - Duration::HOUR)).await;
    let many = world.insert_many(team, 502).await;
    world.sql(format!("UPDATE events SET status = 'option' WHERE id = '{event}'")).await;
    assert!(world.snapshots().await.contains(&of_event), "an option ends no event");
    world.sql(format!("UPDATE events SET status = 'confirmed' WHERE id = '{event}'")).await;
    let rows = world.snapshots().await;
    assert!(!rows.contains(&of_event) && rows.contains(&kept));

    let jobs: Vec<String> = sqlx::query_scalar("SELECT command FROM cron.job").fetch_all(&world.pool).await.unwrap();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        sqlx::raw_sql(AssertSqlSafe(job)).execute(&world.pool).await.unwrap();
    }
    let rows = world.snapshots().await;
    assert!(!rows.contains(&expired));
    assert_eq!(rows.len(), 500, "the newest of the team");
    assert!(!rows.contains(&many[0]) && rows.contains(&kept));

    world.sql("DROP TRIGGER end_event ON events").await;
    assert_eq!(world.run(&["migrate"]).await.code, 0);
    assert_eq!(world.snapshots().await, rows, "the table is adopted as it is");
}
