//! SIGTERM and its like, and tasks that die.

use time::OffsetDateTime;

use crate::support::{Running, Snapshot, World, body, eventually, set};

#[tokio::test]
async fn each_signal_ends_an_idle_worker_with_zero() {
    let world = World::new().await;
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let mut worker = world.worker().await;
        worker.signal(signal);
        assert_eq!(worker.ended().await.code(), Some(0), "SIG{signal}");
    }
}

#[tokio::test]
async fn worker_without_servers_ends_with_zero_too() {
    let world = World::new().await;
    let nowhere =
        [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f"), ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
    let mut worker = world.start_worker(&nowhere).await;
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log_text());
}

#[tokio::test]
async fn what_is_in_flight_at_the_stop_is_finished_or_goes_back() {
    let world = World::new().await;
    let team = world.team().await;
    let survivor = world.insert(&Snapshot::of(team)).await;
    let mut bodies = Vec::new();
    for _ in 0..500 {
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        bodies.push(body(event, "confirmed", OffsetDateTime::now_utc()));
    }
    let mut worker = world.worker_with(&[("LIFECYCLE_PREFETCH", "20")]).await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log_text());
    let rows = world.snapshots().await.len() - 1;
    eventually("a message for each row that is left", async || world.depth(&world.queue).await as usize >= rows).await;
    let next = world.worker().await;
    eventually("the rest to be applied", async || world.snapshots().await == set([survivor])).await;
    next.stop().await;
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn stop_during_a_statement_that_hangs_lets_go_at_the_time_out_and_the_message_goes_back() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.make_each_delete_take("60").await;
    let mut worker = world.worker_with(&[("LIFECYCLE_SHUTDOWN_TIMEOUT", "300ms")]).await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    world.a_delete_is_under_way().await;
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log_text());
    eventually("the message to be back in the queue", async || world.depth(&world.queue).await == 1).await;
    assert_eq!(world.snapshots().await.len(), 1);
}

#[tokio::test]
async fn second_signal_ends_it_at_once() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.make_each_delete_take("60").await;
    let mut worker = world.worker_with(&[("LIFECYCLE_SHUTDOWN_TIMEOUT", "1000s")]).await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    world.a_delete_is_under_way().await;
    worker.signal("HUP");
    eventually("the first signal to be taken", async || !worker.logged("stopping").is_empty()).await;
    worker.signal("QUIT");
    assert_eq!(worker.ended().await.code(), Some(1), "{}", worker.log_text());
    let why = "second signal: ending at once; what was in flight goes back to the queue";
    assert_eq!(worker.logged(why).len(), 1, "{}", worker.log_text());
}

#[tokio::test]
async fn worker_that_was_told_to_outlive_its_terminal_does() {
    let world = World::new().await;
    let mut worker = world.worker_under(&["bash", "-c", "trap '' HUP; exec \"$0\" \"$@\""]).await;
    worker.signal("HUP");
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0));
    let by: Vec<_> = worker.logged("stopping").into_iter().map(|line| line["signal"].clone()).collect();
    assert_eq!(by, ["SIGTERM"], "{}", worker.log_text());
}

#[tokio::test]
async fn command_stops_softly_when_its_terminal_closes() {
    let world = World::new().await;
    // Each run takes one transaction's rows, and would go on.
    world.insert_many(world.team().await, 6_000).await;
    world.sql("UPDATE public.snapshots SET expires_at = now() - interval '1 hour'").await;
    world.make_each_delete_take("0.001").await;
    for signal in ["HUP", "TERM", "QUIT", "INT"] {
        let before = world.count("true").await;
        let sweep = Running::start(world.program(&["sweep", "--yes", "--output", "json"]));
        world.a_delete_is_under_way().await;
        sweep.signal(signal);
        let sweep = sweep.ended().await;
        assert_eq!(sweep.code, 1, "SIG{signal}: {sweep:?}");
        let left = world.count("true").await;
        assert!(0 < left && left < before, "SIG{signal}: what was under way is committed, and no more begun");
        assert_eq!(sweep.json()["deleted"].as_i64(), Some(before - left), "{sweep:?}");
        assert!(sweep.stderr.contains("the same command does the rest"), "SIG{signal}: {sweep:?}");
    }
}

#[tokio::test]
async fn address_that_is_taken_is_said_with_the_fix() {
    let world = World::new().await;
    let worker = world.worker().await;
    let second = world.run(&["run", "--http-addr", &worker.http().to_string()]).await;
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("LIFECYCLE_HTTP_ADDR"), "{second:?}");
}

#[tokio::test]
async fn lease_of_a_pass_that_a_stop_interrupts_is_free_at_once() {
    let world = World::new().await;
    let team = world.team().await;
    for _ in 0..50 {
        world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    }
    world.make_each_delete_take("0.3").await;
    let worker = world.worker_with(&[("LIFECYCLE_SWEEP_INTERVAL", "500ms")]).await;
    world.a_delete_is_under_way().await;
    worker.stop().await;
    let free: bool =
        sqlx::query_scalar("SELECT expires_at <= clock_timestamp() FROM snapshot_lifecycle.lease WHERE name = 'ttl'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(free, "another replica would wait until the lease runs out");
}
