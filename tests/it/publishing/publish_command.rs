//! `publish`: one message or a file, confirmed or an error.

use std::io::Write;
use std::process::{Command, Stdio};

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Snapshot, World, body};

fn fed(mut command: Command, input: &[u8]) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).ok(); // it may stop reading at a line that it refuses
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn publish_is_confirmed_and_applied() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let published = world
        .run(&[
            "publish",
            "--event-id",
            &event.to_string(),
            "--status",
            "Confirmed",
            "--team-id",
            &team.to_string(),
            "--step",
            "7",
        ])
        .await;
    assert_eq!(published.code, 0, "{published:?}");
    assert_eq!(published.json()["routing_key"], "event.status.confirmed");
    assert_eq!(published.json()["confirmed"], 1, "a number, as for a file");
    assert!(published.json()["message_id"].as_str().is_some());
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
}

#[tokio::test]
async fn unroutable_and_missing_exchange_are_errors() {
    let world = World::new().await;
    let event = Uuid::new_v4().to_string();
    let nowhere = world.run(&["publish", "--event-id", &event, "--status", "option"]).await;
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("no exchange"), "{nowhere:?}");
    let (connection, channel) = world.channel().await;
    let durable = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(world.exchange.as_str().into(), lapin::ExchangeKind::Topic, durable, Default::default())
        .await
        .unwrap();
    let unroutable = world.run(&["publish", "--event-id", &event, "--status", "option"]).await;
    assert_eq!(unroutable.code, 1);
    assert!(unroutable.stderr.contains("unroutable"), "{unroutable:?}");
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn file_is_published_line_by_line_and_a_bad_line_says_where_to_go_on() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut lines: Vec<String> = (0..2500)
        .map(|_| String::from_utf8(body(Uuid::new_v4(), "option", OffsetDateTime::now_utc())).unwrap())
        .collect();
    lines.insert(1, String::new());
    let (code, stdout, stderr) = fed(world.program(&["publish", "--from", "-"]), lines.join("\n").as_bytes());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2500"), "{stdout}");
    worker.reaches("messages_total{outcome=\"ignored\"}", 2500.0).await;

    lines.insert(1200, "{\"event_id\": 7}".to_owned());
    let (code, _, stderr) = fed(world.program(&["publish", "--from", "-"]), lines.join("\n").as_bytes());
    assert_eq!(code, 1);
    assert!(stderr.contains("line 1201") && stderr.contains("--skip 1200"), "{stderr}");
    worker.reaches("messages_total{outcome=\"ignored\"}", 3699.0).await;
    // The line is corrected and the rest published.
    lines[1200] = String::new();
    let (code, stdout, stderr) =
        fed(world.program(&["publish", "--from", "-", "--skip", "1200"]), lines.join("\n").as_bytes());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1301"), "{stdout}");
    worker.reaches("messages_total{outcome=\"ignored\"}", 5000.0).await;
    worker.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}
