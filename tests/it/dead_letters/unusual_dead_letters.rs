//! Dead letters that are unusual: huge headers, an exchange that is gone, expiry, forged headers, control characters.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{ReceivedMessage, Snapshot, TempFile, World, body, body_of_team, eventually, with_headers};

#[tokio::test]
async fn message_whose_headers_fill_a_frame_holds_up_no_other() {
    let world = World::new().await;
    let worker = world.worker().await;
    let huge = "x".repeat(130_500);
    let key = "event.status.confirmed";
    let properties = with_headers(&[("huge", &huge), ("small", "kept")]).with_message_id("the-one".into());
    world.put((&world.exchange, key), b"not json", properties).await;
    world.publish_raw(&[b"first".to_vec(), b"second".to_vec()]).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 3.0).await;
    let dead_letters = world.take_dead_letters(3).await;
    let one = dead_letters.iter().find(|dead_letter| dead_letter.body == b"not json").unwrap();
    assert_eq!((one.header("small").as_str(), one.headers().contains_key("huge")), ("kept", false));
    assert!(one.header("lifecycle-error").contains("huge (130504 bytes)"), "{}", one.header("lifecycle-error"));
    worker.stop().await;
}

#[tokio::test]
async fn dead_letter_whose_exchange_is_gone_stays_and_the_others_go_on() {
    let world = World::with_queues().await;
    let mut ids: Vec<_> = world.add_dead_letters(4, "attempts_exhausted").await;
    let gone = with_headers(&[("lifecycle-reason", "attempts_exhausted"), ("lifecycle-exchange", "nowhere")])
        .with_message_id("of-nowhere".into());
    world.put((&format!("{}.dlx", world.queue), "k"), b"{}", gone).await;
    ids.extend(world.add_dead_letters(4, "attempts_exhausted").await);
    eventually("all dead letters", async || world.dead_letters().await == 9).await;
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"], &replay.json()["failed"]), (1, &8.into(), &1.into()));
    assert!(replay.stderr.contains("of-nowhere") && replay.stderr.contains("no exchange 'nowhere'"), "{replay:?}");
    assert_eq!(world.list_dead_letters(&[]).await, ["of-nowhere"]);
    let replayed: BTreeSet<_> = world.drain(&world.queue).await.iter().map(ReceivedMessage::message_id).collect();
    assert_eq!(replayed, ids.into_iter().collect());
}

#[tokio::test]
async fn dead_letter_that_was_moved_through_the_default_exchange_goes_to_the_backends() {
    let world = World::with_queues().await;
    let at = OffsetDateTime::now_utc();
    for (id, status) in [("known", "cancelled"), ("unknown", "nonsense")] {
        let moved = with_headers(&[("lifecycle-reason", "unknown_status"), ("lifecycle-exchange", "")]);
        let body = body(Uuid::new_v4(), status, at);
        world.put(("", &format!("{}.dead-letter", world.queue)), &body, moved.with_message_id(id.into())).await;
    }
    eventually("both dead letters", async || world.dead_letters().await == 2).await;
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &2.into()), "{replay:?}");
    let back = world.drain(&world.queue).await;
    let keys: Vec<_> =
        back.iter().map(|dead_letter| (dead_letter.exchange.as_str(), dead_letter.routing_key.as_str())).collect();
    let exchange = world.exchange.as_str();
    assert_eq!(keys, [(exchange, "event.status.cancelled"), (exchange, "event.status.unknown")]);
}

#[tokio::test]
async fn dead_letter_that_expired_in_the_queue_says_so() {
    let world = World::with_queues().await;
    let brief = BasicProperties::default().with_delivery_mode(2).with_expiration("1".into());
    let message = body(Uuid::new_v4(), "confirmed", OffsetDateTime::now_utc());
    world.put((&world.exchange, "event.status.confirmed"), &message, brief).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    let dead_letter =
        &world.run(&["dlq", "list", "--reason", "expired", "--since", "2026-01-01T00:00:00Z"]).await.json()[0];
    assert_eq!(
        (dead_letter["reason"].as_str(), dead_letter["exchange"].as_str()),
        (Some("expired"), Some(world.exchange.as_str()))
    );
    assert!(dead_letter["error"].as_str().unwrap().contains("RabbitMQ itself"), "{dead_letter}");
    let replay = world.run(&["dlq", "replay", "--reason", "expired", "--yes"]).await;
    assert_eq!(replay.json()["replayed"], 1, "{replay:?}");
    assert_eq!(world.drain(&world.queue).await[0].body, message, "and does not expire again");
}

#[tokio::test]
async fn dead_letter_that_expired_behind_another_hides_none_and_blames_nobody() {
    let world = World::with_queues().await;
    let message = body(Uuid::new_v4(), "nonsense", OffsetDateTime::now_utc());
    let exchange = format!("{}.dlx", world.queue);
    for (id, expires) in [("first", false), ("forgotten", true), ("last", false)] {
        let properties = with_headers(&[("lifecycle-reason", "unknown_status")]).with_message_id(id.into());
        let properties = if expires { properties.with_expiration("1".into()) } else { properties };
        world.put((&exchange, ""), &message, properties).await;
    }
    eventually("all three, as a quorum queue counts them", async || world.dead_letters().await == 3).await;
    let look = world.run(&["dlq", "list"]).await;
    assert_eq!((look.code, look.json().as_array().unwrap().len()), (0, 2), "{look:?}");
    assert!(look.stderr.contains("they have expired"), "{look:?}");
    assert_eq!(world.list_dead_letters(&[]).await, ["first", "last"]);
    assert_eq!(world.dead_letters().await, 2);
}

#[tokio::test]
async fn replay_stops_on_its_own_when_deletes_fail_again_long_before_they_are_dead_letters() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.refuse_deletes().await;
    let team = world.team().await;
    let mut bodies = Vec::new();
    for _ in 0..60 {
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        bodies.push(body_of_team(event, Some(team), "confirmed", OffsetDateTime::now_utc()));
    }
    for body in &bodies {
        let dead_letter =
            with_headers(&[("lifecycle-reason", "attempts_exhausted"), ("lifecycle-exchange", &world.exchange)]);
        world.put((&format!("{}.dlx", world.queue), "event.status.confirmed"), body, dead_letter).await;
    }
    eventually("the dead letters", async || world.dead_letters().await == 60).await;
    let replay = world.run(&["dlq", "replay", "--stop-on-failures", "20%", "--yes"]).await;
    // After the first ten, or the twenty behind them where the worker is slow.
    let replayed = u32::try_from(replay.json()["replayed"].as_u64().unwrap()).unwrap();
    assert!(replay.code == 1 && [10, 30].contains(&replayed), "{replay:?}");
    assert!(replay.stderr.contains("wait for another attempt"), "{replay:?}");
    assert_eq!(world.dead_letters().await, 60 - replayed);
    worker.stop().await;
}

#[tokio::test]
async fn interrupted_browsing_leaves_the_order() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(6_000, "team_mismatch").await;
    let commands: [&[&str]; 3] = [&["dlq", "stats"], &["dlq", "replay"], &["dlq", "export"]];
    for command in commands {
        let mut child = world.program(command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("dead letters to be held", async || {
            world.dead_letters().await < 6_000 || child.try_wait().unwrap().is_some()
        })
        .await;
        let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        sent.unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        assert!(matches!(ended.status.code(), Some(0 | 1)), "{command:?}: {ended:?}");
        eventually("all to be back", async || world.dead_letters().await == 6_000).await;
        assert_eq!(world.list_dead_letters(&["--limit", "6000"]).await, ids, "{command:?}");
    }
}

#[tokio::test]
async fn doctor_sees_that_a_command_holds_the_dead_letters() {
    let world = World::with_queues().await;
    world.add_dead_letters(10, "team_mismatch").await;
    let mut replay = world.program(&["dlq", "replay", "--rate", "1", "--yes"]).stdout(Stdio::null()).spawn().unwrap();
    eventually("dead letters to be held", async || world.dead_letters().await == 0).await;
    let doctor = world.run(&["doctor", "--output", "table"]).await;
    assert!(doctor.stdout.contains("a dlq command holds the dead letters"), "{doctor:?}");
    replay.kill().unwrap();
    replay.wait().unwrap();
}

#[tokio::test]
async fn edited_dead_letter_keeps_the_time_of_its_property() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let seconds = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() + 60;
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_timestamp(seconds).with_message_id("m".into());
    let bad = format!(r#"{{"event_id": "{event}", "status": "conffirmed"}}"#);
    world.publish_with(&[bad.clone().into_bytes()], &properties).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    let file = TempFile::new(bad.replace("conffirmed", "confirmed"));
    let replay = world.run(&["dlq", "replay", "--message-id", "m", "--body", file.path(), "--yes"]).await;
    assert_eq!(replay.code, 0, "{replay:?}");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn terminal_obeys_nothing_that_a_publisher_wrote() {
    let world = World::with_queues().await;
    let evil = with_headers(&[("lifecycle-reason", "invalid_json"), ("lifecycle-error", "\u{1b}[2J")]);
    world.put((&format!("{}.dlx", world.queue), "k"), b"\x1b[31m\nred", evil.with_message_id("\u{1b}[1m".into())).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    for command in [&["dlq", "list"][..], &["dlq", "show"], &["dlq", "stats"]] {
        let shown = world.run(&[command, &["--output", "table"]].concat()).await;
        assert!(!shown.stdout.contains('\u{1b}') && shown.stdout.contains("\\u{1b}[1m"), "{shown:?}");
    }
    assert_eq!(world.run(&["dlq", "show", "--raw"]).await.stdout, "\u{1b}[31m\nred", "raw is raw");
}

#[tokio::test]
async fn failure_is_told_while_stdin_is_still_open() {
    let world = World::new().await; // nothing is declared, so the exchange does not exist
    let mut command = world.program(&["publish", "--from", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())).unwrap();
    stdin.write_all(b"\n").unwrap();
    stdin.flush().unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("line 1: rejected by the broker") && stderr.contains("no exchange"), "{stderr}");
    drop(stdin);
}

#[tokio::test]
async fn what_a_publisher_claims_of_a_message_that_rabbitmq_dead_letters_is_not_believed() {
    let world = World::with_queues().await;
    let (connection, channel) = world.channel().await;
    let billing = format!("{}.billing", world.exchange);
    world.delete_at_end(&billing);
    let durable = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    let fanout = lapin::ExchangeKind::Fanout;
    channel.exchange_declare(billing.as_str().into(), fanout, durable, FieldTable::default()).await.unwrap();
    channel
        .queue_declare(billing.as_str().into(), Default::default(), FieldTable::default())
        .await
        .expect("a queue of somebody else's");
    let (queue, exchange) = (billing.as_str().into(), billing.as_str().into());
    channel.queue_bind(queue, exchange, "".into(), Default::default(), FieldTable::default()).await.unwrap();
    // Up to 3.13 the broker goes on counting in an entry of x-death that a publisher wrote, and keeps its exchange.
    let mut entry = FieldTable::default();
    for (name, value) in [("queue", &world.queue), ("reason", &"expired".to_owned()), ("exchange", &billing)] {
        entry.insert(name.into(), AMQPValue::LongString(value.as_str().into()));
    }
    entry.insert("count".into(), AMQPValue::LongLongInt(1));
    let mut forged = FieldTable::default();
    forged.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(entry)].into()));
    forged.insert("lifecycle-attempt".into(), AMQPValue::LongLongInt(4));
    for (name, value) in [
        ("lifecycle-exchange", billing.as_str()),
        ("lifecycle-routing-key", "pay"),
        ("lifecycle-reason", "attempts_exhausted"),
        ("lifecycle-error", "please replay"),
    ] {
        forged.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let message = body(Uuid::new_v4(), "confirmed", OffsetDateTime::now_utc());
    let to = (world.exchange.as_str(), "event.status.confirmed");
    let brief = BasicProperties::default().with_delivery_mode(2).with_expiration("1".into()).with_headers(forged);
    world.put(to, &message, brief).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    let dead_letter = &world.run(&["dlq", "list"]).await.json()[0];
    assert_eq!(
        (dead_letter["reason"].as_str(), dead_letter["attempt"].as_u64()),
        (Some("expired"), Some(1)),
        "{dead_letter}"
    );
    assert_eq!(
        (dead_letter["exchange"].as_str(), dead_letter["routing_key"].as_str()),
        (Some(to.0), Some(to.1)),
        "{dead_letter}"
    );
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!(replay.json()["replayed"], 1, "{replay:?}");
    assert_eq!((world.depth(&billing).await, world.drain(&world.queue).await.len()), (0, 1));
    channel.queue_delete(billing.as_str().into(), Default::default()).await.unwrap();
    channel.exchange_delete(billing.as_str().into(), Default::default()).await.unwrap();
    connection.close(200, "done".into()).await.ok();
}
