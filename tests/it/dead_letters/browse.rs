//! `dlq list`, `stats` and `show`: they change neither order nor number of the dead letters.

use std::process::Stdio;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{World, eventually, finish, on_a_terminal};

#[tokio::test]
async fn browsing_changes_neither_order_nor_count() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(1203, "attempts_exhausted").await; // more than two windows
    for _ in 0..3 {
        assert_eq!(world.list_dead_letters(&["--limit", "5000"]).await, ids);
        assert_eq!(world.list_dead_letters(&["--limit", "2"]).await, ids[..2]);
    }
    let stats = world.run(&["dlq", "stats"]).await.json();
    assert_eq!((stats["letters"].as_u64(), stats["matched"].as_u64()), (Some(1203), Some(1203)));
    assert_eq!(stats["reasons"][0]["reason"], "attempts_exhausted");
    assert_eq!(stats["reasons"][0]["oldest"], "2026-01-05T12:00:00Z");
    assert_eq!(stats["reasons"][0]["example"]["message_id"], ids[0].as_str());
    let default = world.run(&["dlq", "list"]).await;
    assert_eq!(default.json().as_array().unwrap().len(), 1000);
    assert!(default.stderr.contains("the first 1000 of 1203"), "{}", default.stderr);
    let table = world.run(&["dlq", "stats", "--output", "table"]).await;
    assert!(table.stdout.contains("1203 of 1203 dead letters"), "{table:?}");
    assert_eq!(world.dead_letters().await, 1203);
}

#[tokio::test]
async fn empty_queue_is_no_error() {
    let world = World::with_queues().await;
    assert_eq!(world.run(&["dlq", "list"]).await.stdout, "[]\n");
    for command in
        [&["dlq", "stats"][..], &["dlq", "replay", "--yes"], &["dlq", "purge", "--all", "--yes"], &["dlq", "export"]]
    {
        let answer = world.run(command).await;
        assert_eq!(answer.code, 0, "{command:?} {answer:?}");
    }
    let show = world.run(&["dlq", "show"]).await;
    assert_eq!(show.code, 1);
    assert!(show.stderr.contains("no dead letter matches"), "{show:?}");
}

#[tokio::test]
async fn every_filter_limits_the_dead_letters() {
    let world = World::with_queues().await;
    let first = world.add_dead_letters(3, "team_mismatch").await;
    let second = world.add_dead_letters(2, "too_large").await;
    assert_eq!(world.list_dead_letters(&["--reason", "too_large"]).await, second);
    assert_eq!(world.list_dead_letters(&["--reason", "invalid_json"]).await, Vec::<String>::new());
    assert_eq!(world.list_dead_letters(&["--since", "2026-01-05T12:00:00Z", "--limit", "4"]).await.len(), 4);
    assert_eq!(world.list_dead_letters(&["--since", "2026-01-05T12:00:01Z"]).await.len(), 0);
    assert_eq!(world.list_dead_letters(&["--until", "2026-01-05T13:00:00+01:00"]).await.len(), 5);
    assert_eq!(world.list_dead_letters(&["--until", "2026-01-05T11:59:59Z"]).await.len(), 0);
    assert_eq!(world.list_dead_letters(&["--position", "4"]).await, second[..1]);
    assert_eq!(world.list_dead_letters(&["--message-id", &first[2].to_uppercase()]).await, first[2..]);
    let shown = world.run(&["dlq", "show", "--message-id", &first[0]]).await.json();
    let event = shown[0]["event_id"].as_str().unwrap().to_uppercase();
    assert_eq!(shown[0]["headers"]["traceparent"], "00-trace-01");
    assert_eq!(shown[0]["properties"]["correlation_id"], "kept");
    assert_eq!(world.list_dead_letters(&["--event-id", &event]).await, first[..1]);
    assert_eq!(world.list_dead_letters(&["--team-id", &event]).await.len(), 0);
    let wrong = world.run(&["dlq", "list", "--reason", "bored"]).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("attempts_exhausted"), "{wrong:?}");
}

#[tokio::test]
async fn times_of_a_filter_may_be_durations_back_from_now() {
    let world = World::with_queues().await;
    world.add_dead_letters(2, "too_large").await; // dead-lettered in January 2026
    assert!(world.list_dead_letters(&["--since", "1h"]).await.is_empty());
    assert_eq!(world.list_dead_letters(&["--until", "1h"]).await.len(), 2);
    assert_eq!(world.list_dead_letters(&["--since", "36500d"]).await.len(), 2);
}

#[tokio::test]
async fn show_says_each_thing_once() {
    let world = World::with_queues().await;
    world.add_dead_letters(1, "too_large").await;
    let shown = world.run(&["dlq", "show", "--output", "table"]).await;
    for once in ["too_large", "made by a test", "2026-01-05T12:00:00Z", &world.exchange, "event.status.confirmed"] {
        assert_eq!(shown.stdout.matches(once).count(), 1, "{once} in {shown:?}");
    }
    assert!(shown.stdout.contains("attempt") && shown.stdout.contains("header number"), "{shown:?}");
    assert!(shown.stdout.starts_with("message "), "no empty heading: {shown:?}");
    assert_eq!(world.run(&["dlq", "list"]).await.json()[0]["position"], 1);
    // Nobody has counted its attempts.
    let (connection, channel) = world.channel().await;
    let full = BasicProperties::default().with_delivery_mode(2);
    let to = BasicPublishOptions { mandatory: true, ..Default::default() };
    let body = format!("[{}]", "1,".repeat(20_000));
    let sent = channel.basic_publish(format!("{}.dlx", world.queue).into(), "".into(), to, body.as_bytes(), full);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
    connection.close(200, "done".into()).await.ok();
    eventually("the dead letter", async || world.dead_letters().await == 2).await;
    let command = world.program(&["dlq", "show", "--position", "2"]);
    let (_, shown) = tokio::task::spawn_blocking(move || on_a_terminal(80, &command)).await.unwrap();
    assert!(!shown.contains("attempt") && shown.contains("bytes more; --raw shows all"), "{shown}");
    assert!(shown.len() < 8_000, "{}", shown.len());
}

#[tokio::test]
async fn dead_letters_of_the_broker_are_shown_and_go_back_to_where_they_came_from() {
    let world = World::with_queues().await;
    let event = Uuid::new_v4();
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    let (connection, channel) = world.channel().await;
    eventually("the delivery limit", async || {
        if let Some(got) = channel.basic_get(world.queue.as_str().into(), BasicGetOptions::default()).await.unwrap() {
            got.delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
        world.dead_letters().await == 1
    })
    .await;
    connection.close(200, "done".into()).await.ok();
    let shown = world.run(&["dlq", "list"]).await.json();
    assert_eq!(shown[0]["reason"], "delivery_limit");
    assert_eq!(
        (shown[0]["exchange"].as_str(), shown[0]["event_id"].as_str()),
        (Some(world.exchange.as_str()), Some(event.to_string().as_str()))
    );
    assert!(shown[0]["dead_lettered_at"].as_str().is_some());
    let replay = world.run(&["dlq", "replay", "--reason", "delivery_limit", "--yes"]).await;
    assert_eq!(replay.json()["replayed"], 1, "{replay:?}");
    let back = world.drain(&world.queue).await.remove(0);
    assert!(!back.headers().contains_key("x-death"), "{:?}", back.headers());
    assert_eq!((back.exchange, back.routing_key.as_str()), (world.exchange.clone(), "event.status.confirmed"));
}

#[tokio::test]
async fn reader_that_goes_away_and_broker_that_is_away_end_the_command() {
    let world = World::with_queues().await;
    world.add_dead_letters(1000, "attempts_exhausted").await;
    let mut child = world.program(&["dlq", "list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.dead_letters().await, 1000);
    for arguments in
        [&["dlq", "list"][..], &["dlq", "stats"], &["dlq", "replay", "--yes"], &["dlq", "purge", "--all", "--yes"]]
    {
        let mut command = world.program(arguments);
        command.env("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f");
        let answer = tokio::task::spawn_blocking(|| finish(command)).await.unwrap();
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stderr.contains("could not connect to RabbitMQ"), "{answer:?}");
    }
}

#[tokio::test]
async fn messages_that_wait_for_another_attempt_are_counted() {
    let world = World::new().await;
    world.refuse_deletes().await;
    let bodies = world.ending_events(1).await;
    let worker = world.worker().await;
    world.publish_raw(&bodies).await;
    // The third attempt comes after a minute.
    worker.reaches("wait_queue_messages", 1.0).await;
    eventually("the message to wait", async || {
        let stats = world.run(&["dlq", "stats"]).await;
        stats.json()["waiting_for_retry"] == 1 && stats.json()["letters"] == 0
    })
    .await;
    let table = world.run(&["dlq", "stats", "--output", "table"]).await;
    assert!(table.stdout.contains("1 message waits for another attempt"), "{table:?}");
    worker.stop().await;
}
