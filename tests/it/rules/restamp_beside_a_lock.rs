//! A restamp meets rows that somebody else holds.

use sqlx::Connection;

use crate::support::World;

#[tokio::test]
async fn restamp_of_a_row_that_stays_locked_ends_with_the_reason_and_can_be_run_again() {
    let world = World::new().await;
    world.insert_many(world.team().await, 3).await;
    let mut backend = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM public.snapshots LIMIT 1 FOR UPDATE").execute(&mut backend).await.unwrap();
    let restamp = ["retention", "set", "offer", "--ttl", "30d", "--restamp", "--yes"];
    let failed = world.run(&restamp).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("lock"), "{failed:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut backend).await.unwrap();
    let done = world.run(&restamp).await;
    assert_eq!((done.code, done.json()["restamped"].as_i64()), (0, Some(3)), "{done:?}");
}
