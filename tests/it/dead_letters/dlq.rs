//! The `dlq` commands, through the binary: what they show, what they move, and what stays.

use std::collections::BTreeSet;
use std::process::Stdio;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Letter, Snapshot, World, body, eventually, finish, on_a_terminal};

/// A world whose exchanges and queues are there, without a worker.
pub async fn world() -> World {
    let world = World::new().await;
    world.worker().await.stop().await;
    world
}

/// So many letters as the worker leaves them, of events that do not exist; their message ids in order.
pub async fn letters(world: &World, count: u32, reason: &str) -> Vec<String> {
    let (connection, channel) = world.channel().await;
    let (mut ids, mut confirms) = (Vec::new(), Vec::new());
    for n in 0..count {
        let id = Uuid::new_v4().to_string();
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("lifecycle-reason", reason),
            ("lifecycle-error", "made by a test"),
            ("lifecycle-dead-lettered-at", "2026-01-05T12:00:00Z"),
            ("lifecycle-exchange", &world.exchange),
            ("lifecycle-routing-key", "event.status.confirmed"),
            ("traceparent", "00-trace-01"),
            ("x-first-death-queue", "a queue of the broker's"),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        headers.insert("lifecycle-attempt".into(), AMQPValue::LongLongInt(5));
        headers.insert("number".into(), AMQPValue::LongLongInt(n.into()));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_headers(headers)
            .with_message_id(id.as_str().into())
            .with_correlation_id("kept".into());
        let body = body(Uuid::new_v4(), "confirmed", OffsetDateTime::now_utc());
        let sent = channel.basic_publish(
            format!("{}.dlx", world.queue).into(),
            "event.status.confirmed".into(),
            BasicPublishOptions { mandatory: true, ..Default::default() },
            &body,
            properties,
        );
        confirms.push(sent.await.unwrap());
        ids.push(id);
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
    connection.close(200, "done".into()).await.ok();
    eventually("the letters to be there", async || world.dead_letters().await >= count).await;
    ids
}

/// Everything that is in a queue; taken out.
pub async fn drain(world: &World, queue: &str) -> Vec<Letter> {
    let (connection, channel) = world.channel().await;
    let mut found = Vec::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        found.push(Letter {
            body: got.delivery.data,
            exchange: got.delivery.exchange.to_string(),
            routing_key: got.delivery.routing_key.to_string(),
            properties: got.delivery.properties,
        });
    }
    connection.close(200, "done".into()).await.ok();
    found
}

pub fn id_of(letter: &Letter) -> String {
    letter.properties.message_id().as_ref().unwrap().to_string()
}

pub async fn listed(world: &World, arguments: &[&str]) -> Vec<String> {
    let answer = world.run(&[&["dlq", "list"], arguments].concat()).await;
    assert_eq!(answer.code, 0, "{answer:?}");
    let letters = answer.json();
    letters.as_array().unwrap().iter().map(|letter| letter["message_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn looking_changes_neither_order_nor_count() {
    let world = world().await;
    let ids = letters(&world, 1203, "attempts_exhausted").await; // more than two windows
    for _ in 0..3 {
        assert_eq!(listed(&world, &["--limit", "5000"]).await, ids);
        assert_eq!(listed(&world, &["--limit", "2"]).await, ids[..2]);
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
    let world = world().await;
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
async fn replay_keeps_what_is_the_applications_and_drops_the_rest() {
    let world = world().await;
    let ids = letters(&world, 3, "team_mismatch").await;
    let preview = world.run(&["dlq", "replay"]).await;
    assert_eq!((preview.code, preview.json()["matched"].as_u64()), (0, Some(3)), "{preview:?}");
    assert_eq!(preview.json()["dry_run"], true);
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 3));

    let replay = world.run(&["dlq", "replay", "--message-id", &ids[1], "--yes"]).await;
    assert_eq!((replay.code, replay.json()["replayed"].as_u64()), (0, Some(1)), "{replay:?}");
    assert_eq!(listed(&world, &[]).await, [ids[0].clone(), ids[2].clone()]);
    let arrived = drain(&world, &world.queue).await;
    assert_eq!(arrived.len(), 1);
    let letter = &arrived[0];
    assert_eq!((&letter.exchange, letter.routing_key.as_str()), (&world.exchange, "event.status.confirmed"));
    assert_eq!(id_of(letter), ids[1]);
    assert_eq!(letter.properties.correlation_id().as_ref().unwrap().as_str(), "kept");
    let headers = letter.headers();
    // 3.10 counts deliveries in a header of its own.
    let names: Vec<_> = headers.keys().map(String::as_str).filter(|name| *name != "x-delivery-count").collect();
    assert_eq!(names, ["lifecycle-replay-count", "number", "traceparent"]);
    assert_eq!(headers["lifecycle-replay-count"], "1");
}

#[tokio::test]
async fn every_filter_limits_the_letters() {
    let world = world().await;
    let first = letters(&world, 3, "team_mismatch").await;
    let second = letters(&world, 2, "too_large").await;
    assert_eq!(listed(&world, &["--reason", "too_large"]).await, second);
    assert_eq!(listed(&world, &["--reason", "invalid_json"]).await, Vec::<String>::new());
    assert_eq!(listed(&world, &["--since", "2026-01-05T12:00:00Z", "--limit", "4"]).await.len(), 4);
    assert_eq!(listed(&world, &["--since", "2026-01-05T12:00:01Z"]).await.len(), 0);
    assert_eq!(listed(&world, &["--until", "2026-01-05T13:00:00+01:00"]).await.len(), 5);
    assert_eq!(listed(&world, &["--until", "2026-01-05T11:59:59Z"]).await.len(), 0);
    assert_eq!(listed(&world, &["--position", "4"]).await, second[..1]);
    assert_eq!(listed(&world, &["--message-id", &first[2].to_uppercase()]).await, first[2..]);
    let shown = world.run(&["dlq", "show", "--message-id", &first[0]]).await.json();
    let event = shown[0]["event_id"].as_str().unwrap().to_uppercase();
    assert_eq!(shown[0]["headers"]["traceparent"], "00-trace-01");
    assert_eq!(shown[0]["properties"]["correlation_id"], "kept");
    assert_eq!(listed(&world, &["--event-id", &event]).await, first[..1]);
    assert_eq!(listed(&world, &["--team-id", &event]).await.len(), 0);
    let wrong = world.run(&["dlq", "list", "--reason", "bored"]).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("attempts_exhausted"), "{wrong:?}");
}

#[tokio::test]
async fn exactly_the_letters_of_the_preview_and_no_others() {
    let world = world().await;
    let first = letters(&world, 3, "team_mismatch").await;
    let preview = world.run(&["dlq", "replay", "--reason", "team_mismatch"]).await.json();
    let selection = preview["selection"].as_str().unwrap();
    let later = letters(&world, 2, "team_mismatch").await;
    let exactly = ["dlq", "replay", "--reason", "team_mismatch", "--exactly", selection, "--yes"];
    let replay = world.run(&exactly).await;
    assert_eq!((replay.code, replay.json()["replayed"].as_u64()), (0, Some(3)), "{replay:?}");
    assert_eq!(listed(&world, &[]).await, later);
    let arrived: Vec<_> = drain(&world, &world.queue).await.iter().map(id_of).collect();
    assert_eq!(arrived, first);
    let again = world.run(&exactly).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("not the dead letters of that preview"), "{again:?}");
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 2));
}

#[tokio::test]
async fn letter_that_keeps_coming_back_is_marked_and_stays() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.publish_raw(&[b"no json".to_vec()]).await;
    for replays in 1..=2 {
        eventually("the letter", async || world.dead_letters().await == 1).await;
        let replay = world.run(&["dlq", "replay", "--max-replays", "2", "--yes"]).await;
        assert_eq!(replay.json()["replayed"], 1, "{replays}: {replay:?}");
    }
    eventually("the letter", async || world.dead_letters().await == 1).await;
    let marked = world.run(&["dlq", "replay", "--max-replays", "2", "--yes"]).await.json();
    assert_eq!((marked["replayed"].as_u64(), marked["replayed_too_often"].as_u64()), (Some(0), Some(1)));
    let again = world.run(&["dlq", "replay", "--max-replays", "2", "--yes"]).await.json();
    assert_eq!((again["replayed"].as_u64(), again["replayed_too_often"].as_u64()), (Some(0), Some(1)));
    assert_eq!(world.dead_letters().await, 1, "marked once");
    let shown = world.run(&["dlq", "list"]).await.json();
    assert_eq!((shown[0]["reason"].as_str(), shown[0]["replay_count"].as_u64()), (Some("replayed_too_often"), Some(2)));
    assert!(shown[0]["error"].as_str().unwrap().contains("invalid_json"), "{shown}");
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(
        (letter.body.as_slice(), letter.header("lifecycle-exchange")),
        (&b"no json"[..], world.exchange.clone())
    );
    worker.stop().await;
}

#[tokio::test]
async fn letter_is_edited_and_replayed() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let good = String::from_utf8(body(event, "confirmed", OffsetDateTime::now_utc())).unwrap();
    let old = Uuid::new_v4().to_string();
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(old.as_str().into());
    let bad = good.replace("confirmed", "conffirmed").into_bytes();
    world.publish_with(std::slice::from_ref(&bad), &properties).await;
    eventually("the letter", async || world.dead_letters().await == 1).await;
    let raw = world.run(&["dlq", "show", "--message-id", &old, "--raw"]).await;
    assert_eq!(raw.stdout.as_bytes(), bad);
    let file = std::env::temp_dir().join(format!("{}.json", Uuid::new_v4()));
    let edited = ["dlq", "replay", "--message-id", &old, "--body", file.to_str().unwrap(), "--yes"];
    std::fs::write(&file, &raw.stdout).unwrap();
    let still_bad = world.run(&edited).await;
    assert_eq!(still_bad.code, 1);
    assert!(still_bad.stderr.contains("would be dead-lettered again"), "{still_bad:?}");
    std::fs::write(&file, raw.stdout.replace("conffirmed", "confirmed")).unwrap();
    let preview = world.run(&edited[..6]).await;
    assert_eq!((preview.code, world.dead_letters().await), (0, 1), "{preview:?}");
    worker.signal("STOP");
    let replay = world.run(&edited).await;
    assert_eq!((replay.code, world.dead_letters().await), (0, 0), "{replay:?}");
    assert_ne!(replay.json()["message_id"], old.as_str());
    worker.signal("CONT");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
    std::fs::remove_file(file).ok();
}

#[tokio::test]
async fn replay_stops_by_itself_when_letters_come_back() {
    let world = World::new().await;
    let worker = world.worker().await;
    let bad: Vec<_> = (0..100).map(|n| format!("no json {n}").into_bytes()).collect();
    world.publish_raw(&bad).await;
    eventually("the letters", async || world.dead_letters().await == 100).await;
    let replay = world.run(&["dlq", "replay", "--stop-on-failures", "20%", "--yes"]).await;
    let answer = replay.json();
    assert_eq!((replay.code, answer["replayed"].as_u64()), (1, Some(10)), "{replay:?}");
    assert!(answer["stopped"].as_str().unwrap().contains("are dead letters again"), "{replay:?}");
    eventually("all of them to be back", async || world.dead_letters().await == 100).await;
    let bodies: BTreeSet<_> = world.take_dead_letters(100).await.into_iter().map(|letter| letter.body).collect();
    assert_eq!(bodies, bad.into_iter().collect());
    worker.stop().await;
}

#[tokio::test]
async fn interrupted_or_killed_no_letter_is_lost() {
    for (signal, exact) in [("INT", true), ("TERM", true), ("KILL", false)] {
        let world = world().await;
        let ids: BTreeSet<_> = letters(&world, 800, "attempts_exhausted").await.into_iter().collect();
        let mut command = world.program(&["dlq", "replay", "--rate", "400", "--yes"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("some to be replayed", async || world.depth(&world.queue).await >= 80).await;
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        eventually("all to be ready again", async || {
            world.depth(&world.queue).await + world.dead_letters().await >= 800
        })
        .await;
        let replayed: Vec<_> = drain(&world, &world.queue).await.iter().map(id_of).collect();
        let stayed: Vec<_> = drain(&world, &format!("{}.dead-letter", world.queue)).await.iter().map(id_of).collect();
        assert!(!replayed.is_empty() && !stayed.is_empty(), "it was in the middle");
        let all: BTreeSet<_> = replayed.iter().chain(&stayed).cloned().collect();
        assert_eq!(all, ids, "{signal}");
        if exact {
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(answer["stopped"], "interrupted");
            assert_eq!(answer["replayed"].as_u64(), Some(replayed.len() as u64));
            assert_eq!(replayed.len() + stayed.len(), 800, "nothing is in both");
        }
    }
}

#[tokio::test]
async fn unroutable_letter_stays() {
    let world = world().await;
    let ids = letters(&world, 2, "attempts_exhausted").await;
    let (connection, channel) = world.channel().await;
    channel
        .queue_unbind(
            world.queue.as_str().into(),
            world.exchange.as_str().into(),
            "event.status.#".into(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    connection.close(200, "done".into()).await.ok();
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!((replay.code, replay.json()["replayed"].as_u64()), (1, Some(0)), "{replay:?}");
    assert_eq!(replay.json()["failed"], 2, "{replay:?}");
    assert!(replay.stderr.contains("2 could not be replayed") && replay.stderr.contains("unroutable"), "{replay:?}");
    assert_eq!(listed(&world, &[]).await, ids);
}

#[tokio::test]
async fn purge_removes_only_what_matches() {
    let world = world().await;
    let kept = letters(&world, 2, "team_mismatch").await;
    letters(&world, 3, "too_large").await;
    let preview = world.run(&["dlq", "purge", "--reason", "too_large"]).await;
    assert_eq!((preview.code, preview.json()["matched"].as_u64(), world.dead_letters().await), (0, Some(3), 5));
    let selection = preview.json()["selection"].as_str().unwrap().to_owned();
    let more = letters(&world, 1, "too_large").await;
    let purge = world.run(&["dlq", "purge", "--reason", "too_large", "--exactly", &selection, "--yes"]).await;
    assert_eq!((purge.code, purge.json()["purged"].as_u64()), (0, Some(3)), "{purge:?}");
    assert_eq!(listed(&world, &[]).await, [kept, more].concat());
    let all = world.run(&["dlq", "purge", "--all", "--yes", "--output", "table"]).await;
    assert!(all.stdout.contains("purged 3 dead letters"), "{all:?}");
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn purge_of_everything_has_to_say_so() {
    let world = world().await;
    let ids = letters(&world, 3, "too_large").await;
    let refused = world.run(&["dlq", "purge", "--yes"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    assert!(refused.stderr.contains("--all") && refused.stderr.contains("--exactly"), "{refused:?}");
    let both = world.run(&["dlq", "purge", "--all", "--reason", "too_large", "--yes"]).await;
    assert_eq!(both.code, 2, "{both:?}");
    for preview in [&["dlq", "purge"][..], &["dlq", "purge", "--all"]] {
        let preview = world.run(&[preview, &["--output", "table"]].concat()).await;
        assert!(preview.code == 0 && preview.stdout.contains("would purge 3 of 3 dead letters"), "{preview:?}");
        assert!(preview.stdout.contains("add --all --yes to do it"), "{preview:?}");
    }
    assert_eq!(listed(&world, &[]).await, ids);
    // A selection says which, however it was made.
    let selection = world.run(&["dlq", "purge"]).await.json()["selection"].as_str().unwrap().to_owned();
    let purge = world.run(&["dlq", "purge", "--exactly", &selection, "--yes"]).await;
    assert_eq!((purge.code, purge.json()["purged"].as_u64()), (0, Some(3)), "{purge:?}");
    letters(&world, 1, "too_large").await;
    let purge = world.run(&["dlq", "purge", "--all", "--yes", "--output", "table"]).await;
    assert!(purge.code == 0 && purge.stdout.contains("purged 1 dead letter\n"), "{purge:?}");
}

#[tokio::test]
async fn replay_says_that_confirmed_is_not_applied_and_how_to_see_what_came_back() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.publish_raw(&[b"no json".to_vec()]).await;
    eventually("the letter", async || world.dead_letters().await == 1).await;
    let preview = world.run(&["dlq", "replay"]).await.json();
    assert_eq!((preview["would_replay"].as_u64(), preview["replayed"].as_u64()), (Some(1), Some(0)), "{preview}");
    let replay = world.run(&["dlq", "replay", "--yes", "--output", "table"]).await;
    assert!(replay.stdout.contains("replayed 1 dead letter\n"), "{replay:?}");
    assert!(replay.stdout.contains("Whether they succeed is up to the worker"), "{replay:?}");
    let (_, command) = replay.stdout.split_once("`dlq list --since ").unwrap();
    let since = command.split('`').next().unwrap();
    eventually("the letter", async || world.dead_letters().await == 1).await;
    assert_eq!(world.run(&["dlq", "list", "--since", since]).await.json()[0]["replay_count"], 1);
    worker.stop().await;
}

#[tokio::test]
async fn times_of_a_filter_may_be_durations_back_from_now() {
    let world = world().await;
    letters(&world, 2, "too_large").await; // dead-lettered in January 2026
    assert!(listed(&world, &["--since", "1h"]).await.is_empty());
    assert_eq!(listed(&world, &["--until", "1h"]).await.len(), 2);
    assert_eq!(listed(&world, &["--since", "36500d"]).await.len(), 2);
}

#[tokio::test]
async fn show_says_each_thing_once() {
    let world = world().await;
    letters(&world, 1, "too_large").await;
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
    eventually("the letter", async || world.dead_letters().await == 2).await;
    let command = world.program(&["dlq", "show", "--position", "2"]);
    let (_, shown) = tokio::task::spawn_blocking(move || on_a_terminal(80, &command)).await.unwrap();
    assert!(!shown.contains("attempt") && shown.contains("bytes more; --raw shows all"), "{shown}");
    assert!(shown.len() < 8_000, "{}", shown.len());
}

#[tokio::test]
async fn export_saves_every_byte_and_never_overwrites() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.publish_raw(&[vec![0xff, 0x00, b'{'], b"no json".to_vec()]).await;
    eventually("the letters", async || world.dead_letters().await == 2).await;
    let file = std::env::temp_dir().join(format!("{}.ndjson", Uuid::new_v4()));
    let path = file.to_str().unwrap();
    let export = world.run(&["dlq", "export", "--to", path]).await;
    assert_eq!((export.code, export.json()["exported"].as_u64()), (0, Some(2)), "{export:?}");
    let saved = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = saved.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["body_base64"].as_str(), lines[1]["body"].as_str()), (Some("/wB7"), Some("no json")));
    assert_eq!(lines[1]["headers"]["lifecycle-reason"], "invalid_json");
    let again = world.run(&["dlq", "export", "--to", path]).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("exists already"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), saved);
    let to_stdout = world.run(&["dlq", "export"]).await;
    assert_eq!(to_stdout.stdout, saved);
    let selection = export.json()["selection"].as_str().unwrap().to_owned();
    assert!(to_stdout.stderr.contains(&selection), "{to_stdout:?}");
    // What arrived after the export is not purged with what it saved.
    world.publish_raw(&[b"late".to_vec()]).await;
    eventually("the late letter", async || world.dead_letters().await == 3).await;
    let purge = world.run(&["dlq", "purge", "--exactly", &selection, "--yes"]).await;
    assert_eq!((purge.code, purge.json()["purged"].as_u64()), (0, Some(2)), "{purge:?}");
    assert_eq!(world.take_dead_letters(1).await[0].body, b"late");
    std::fs::remove_file(file).ok();
    worker.stop().await;
}

#[tokio::test]
async fn two_commands_never_compete() {
    let world = world().await;
    letters(&world, 400, "attempts_exhausted").await;
    let mut command = world.program(&["dlq", "replay", "--rate", "20", "--yes"]);
    let mut replay = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the replay to be at work", async || world.depth(&world.queue).await > 0).await;
    let list = world.run(&["dlq", "list"]).await;
    assert_eq!(list.code, 1);
    assert!(list.stderr.contains("another dlq command is at work"), "{list:?}");
    replay.kill().unwrap();
    replay.wait().unwrap();
    // The lock ends with its holder.
    eventually("the list to work again", async || world.run(&["dlq", "list"]).await.code == 0).await;
}

#[tokio::test]
async fn letters_of_the_broker_are_shown_and_go_back_to_where_they_came_from() {
    let world = world().await;
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
    let back = drain(&world, &world.queue).await.remove(0);
    assert!(!back.headers().contains_key("x-death"), "{:?}", back.headers());
    assert_eq!((back.exchange, back.routing_key.as_str()), (world.exchange.clone(), "event.status.confirmed"));
}

#[tokio::test]
async fn reader_that_goes_away_and_broker_that_is_away_end_the_command() {
    let world = world().await;
    letters(&world, 1000, "attempts_exhausted").await;
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
