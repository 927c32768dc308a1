//! What a replay takes, what it keeps of a message, and when it goes on.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{ReceivedMessage, Running, TempFile, World, body, eventually, with_headers};

/// Everything that an application may set, but for the headers.
fn of_the_application() -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/vnd.backend+json".into())
        .with_content_encoding("identity".into())
        .with_priority(7)
        .with_correlation_id("c-1".into())
        .with_reply_to("backend.replies".into())
        .with_message_id("m-1".into())
        .with_timestamp(1_767_614_400)
        .with_type("status.changed".into())
        .with_app_id("backend".into())
}

/// Headers of several kinds.
fn headers_of_the_application() -> FieldTable {
    let mut nested = FieldTable::default();
    nested.insert("tenant".into(), AMQPValue::LongString("venue".into()));
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString("00-trace-01".into()));
    headers.insert("number".into(), AMQPValue::LongInt(7));
    headers.insert("urgent".into(), AMQPValue::Boolean(true));
    headers.insert("baggage".into(), AMQPValue::FieldTable(nested));
    headers.insert("hops".into(), AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongLongInt(1)])));
    headers
}

/// One dead letter with all of that, and with what the worker and the broker wrote into it.
async fn dead_letter_with_everything(world: &World, body: &[u8]) {
    let mut headers = headers_of_the_application();
    for (name, value) in [
        ("lifecycle-reason", "unknown_status"),
        ("lifecycle-error", "made by a test"),
        ("lifecycle-dead-lettered-at", "2026-01-05T12:00:00Z"),
        ("lifecycle-exchange", world.exchange.as_str()),
        ("lifecycle-routing-key", "event.status.confirmed"),
        ("x-first-death-exchange", "the broker's"),
        ("x-first-death-queue", "the broker's"),
        ("x-first-death-reason", "the broker's"),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    headers.insert("lifecycle-attempt".into(), AMQPValue::LongLongInt(1));
    headers.insert("lifecycle-replay-count".into(), AMQPValue::LongLongInt(1));
    // So late that it does not expire under the test.
    let properties = of_the_application().with_headers(headers).with_expiration("3600000".into());
    world.put((&format!("{}.dlx", world.queue), "event.status.confirmed"), body, properties).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
}

/// The headers that arrived. 3.10 counts deliveries in a header of its own.
fn headers_of(properties: &BasicProperties) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in properties.headers().as_ref().unwrap().inner() {
        if name.as_str() != "x-delivery-count" {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

#[tokio::test]
async fn replay_keeps_every_property_of_the_application_and_drops_the_expiration() {
    let world = World::with_queues().await;
    let message = body(Uuid::new_v4(), "confirmed", OffsetDateTime::now_utc());
    dead_letter_with_everything(&world, &message).await;
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &1.into()), "{replay:?}");
    let arrived = world.drain(&world.queue).await.remove(0);
    assert_eq!(arrived.body, message);
    let mut expected = headers_of_the_application();
    expected.insert("lifecycle-replay-count".into(), AMQPValue::LongLongInt(2));
    assert_eq!(headers_of(&arrived.properties), expected);
    // All of them, so that one that is forgotten tomorrow is noticed, too.
    assert_eq!(arrived.properties.with_headers(expected.clone()), of_the_application().with_headers(expected));
}

#[tokio::test]
async fn edited_message_says_what_it_replaces_and_keeps_the_rest() {
    let world = World::with_queues().await;
    let (bad, new) = (body(Uuid::new_v4(), "conffirmed", OffsetDateTime::now_utc()), Uuid::new_v4());
    dead_letter_with_everything(&world, &bad).await;
    let mut edited: serde_json::Value = serde_json::from_slice(&bad).unwrap();
    edited["status"] = "cancelled".into();
    edited["message_id"] = new.to_string().into();
    let file = TempFile::new(edited.to_string());
    let replay = world.run(&["dlq", "replay", "--message-id", "m-1", "--body", file.path(), "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &1.into()), "{replay:?}");
    assert_eq!(replay.json()["message_id"], new.to_string());
    let arrived = world.drain(&world.queue).await.remove(0);
    assert_eq!(arrived.body, edited.to_string().into_bytes());
    // The status is another, and so is the routing key.
    assert_eq!((&arrived.exchange, arrived.routing_key.as_str()), (&world.exchange, "event.status.cancelled"));
    let mut expected = headers_of_the_application();
    expected.insert("lifecycle-replay-count".into(), AMQPValue::LongLongInt(2));
    expected.insert("lifecycle-replaces".into(), AMQPValue::LongString("m-1".into()));
    assert_eq!(headers_of(&arrived.properties), expected);
    let of_the_new = of_the_application().with_message_id(new.to_string().into()).with_headers(expected.clone());
    assert_eq!(arrived.properties.with_headers(expected), of_the_new);
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn edited_message_replaces_another_than_itself() {
    let world = World::with_queues().await;
    let bad = body(Uuid::new_v4(), "conffirmed", OffsetDateTime::now_utc());
    let to = (&*format!("{}.dlx", world.queue), "");
    world.put(to, &bad, with_headers(&[("lifecycle-reason", "unknown_status")])).await;
    let old: serde_json::Value = serde_json::from_slice(&bad).unwrap();
    let mut edited = old.clone();
    edited["status"] = "confirmed".into();
    let file = TempFile::new(edited.to_string());
    let replay = world.run(&["dlq", "replay", "--position", "1", "--body", file.path(), "--yes"]).await;
    assert_eq!(replay.code, 0, "{replay:?}");
    let arrived = world.drain(&world.queue).await.remove(0);
    let new = arrived.properties.message_id().clone().unwrap();
    assert_ne!(new.as_str(), old["message_id"], "only the body still has the old one");
    assert_eq!(replay.json()["message_id"], new.as_str());
    assert_eq!(arrived.header("lifecycle-replaces"), old["message_id"].as_str().unwrap());
}

#[tokio::test]
async fn limit_takes_the_first_that_match_and_no_others() {
    let world = World::with_queues().await;
    let first = world.add_dead_letters(2, "team_mismatch").await;
    let others = world.add_dead_letters(3, "too_large").await;
    let last = world.add_dead_letters(4, "team_mismatch").await;
    let limited = |command| ["dlq", command, "--reason", "team_mismatch", "--limit", "3"];
    let yes = |command| [&limited(command)[..], &["--yes"]].concat();

    let preview = world.run(&limited("replay")).await;
    assert_eq!((preview.code, &preview.json()["matched"]), (0, &3.into()), "{preview:?}");
    let replay = world.run(&yes("replay")).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &3.into()), "{replay:?}");
    let arrived: Vec<_> = world.drain(&world.queue).await.iter().map(ReceivedMessage::message_id).collect();
    assert_eq!(arrived, [&first[..], &last[..1]].concat());
    assert_eq!(world.list_dead_letters(&[]).await, [&others[..], &last[1..]].concat());

    let more = world.add_dead_letters(1, "team_mismatch").await;
    let preview = world.run(&limited("purge")).await;
    assert_eq!((preview.code, &preview.json()["matched"]), (0, &3.into()), "{preview:?}");
    let purge = world.run(&yes("purge")).await;
    assert_eq!((purge.code, &purge.json()["purged"]), (0, &3.into()), "{purge:?}");
    assert_eq!(world.list_dead_letters(&[]).await, [&others[..], &more].concat());

    // Fewer than the limit is no error.
    let purge = world.run(&yes("purge")).await;
    assert_eq!((purge.code, &purge.json()["purged"]), (0, &1.into()), "{purge:?}");
    let none = world.run(&yes("replay")).await;
    assert_eq!((none.code, &none.json()["replayed"]), (0, &0.into()), "{none:?}");
    assert_eq!(world.list_dead_letters(&[]).await, others);
}

#[tokio::test]
async fn rate_is_heeded_and_an_interruption_leaves_each_dead_letter_in_one_place() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(200, "attempts_exhausted").await;
    // All of them would take 40 seconds.
    let replay = Running::start(world.program(&["dlq", "replay", "--rate", "5", "--yes"]));
    eventually("the first to arrive", async || world.depth(&world.queue).await >= 3).await;
    replay.signal("INT");
    let replay = replay.ended().await;
    assert_eq!((replay.code, &replay.json()["stopped"]), (1, &"interrupted".into()), "{replay:?}");
    eventually("all to be ready again", async || world.depth(&world.queue).await + world.dead_letters().await == 200)
        .await;
    let arrived: Vec<_> = world.drain(&world.queue).await.iter().map(ReceivedMessage::message_id).collect();
    assert_eq!(replay.json()["replayed"], arrived.len());
    // Without the rate all would arrive at once, in chunks of 500.
    assert!(arrived.len() < 100, "{} of 200", arrived.len());
    assert_eq!([arrived, world.list_dead_letters(&[]).await].concat(), ids);
}

#[tokio::test]
async fn replay_goes_on_to_the_end_while_fewer_come_back_than_are_allowed() {
    let world = World::new().await;
    let worker = world.worker().await;
    let bodies: Vec<_> = (0..60)
        .map(|n| match n % 10 {
            6 => format!("no json {n}").into_bytes(), // 10 % of the first ten as of all
            _ => body(Uuid::new_v4(), "confirmed", OffsetDateTime::now_utc()),
        })
        .collect();
    for body in &bodies {
        let dead_letter = with_headers(&[
            ("lifecycle-reason", "attempts_exhausted"),
            ("lifecycle-exchange", &world.exchange),
            ("lifecycle-routing-key", "event.status.confirmed"),
        ]);
        world.put((&format!("{}.dlx", world.queue), "event.status.confirmed"), body, dead_letter).await;
    }
    eventually("the dead letters", async || world.dead_letters().await == 60).await;
    let replay = world.run(&["dlq", "replay", "--stop-on-failures", "20%", "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &60.into()), "{replay:?}");
    assert!(replay.json().get("stopped").is_none(), "{replay:?}");
    let nothing = world.run(&["dlq", "replay", "--reason", "too_large", "--stop-on-failures", "20%", "--yes"]).await;
    assert_eq!(
        (nothing.code, &nothing.json()["replayed"]),
        (0, &0.into()),
        "no share of nothing came back: {nothing:?}"
    );
    worker.reaches("messages_total{outcome=\"applied\"}", 54.0).await;
    let back = world.take_dead_letters(6).await;
    assert!(back.iter().all(|dead_letter| dead_letter.header("lifecycle-replay-count") == "1"), "{back:?}");
    let back: BTreeSet<_> = back.into_iter().map(|dead_letter| dead_letter.body).collect();
    assert_eq!(back, bodies.into_iter().filter(|body| body.starts_with(b"no json")).collect());
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
}

#[tokio::test]
async fn replay_whose_messages_no_worker_takes_goes_no_further_and_can_be_interrupted() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(40, "attempts_exhausted").await;
    let replay = Running::start(world.program(&["dlq", "replay", "--stop-on-failures", "20%", "--yes"]));
    eventually("the first wave", async || world.depth(&world.queue).await == 10).await;
    // Longer than what was received gets to come back.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    replay.signal("INT");
    let replay = replay.ended().await;
    assert_eq!((replay.code, &replay.json()["stopped"]), (1, &"interrupted".into()), "{replay:?}");
    assert_eq!(replay.json()["replayed"], 10);
    let arrived: Vec<_> = world.drain(&world.queue).await.iter().map(ReceivedMessage::message_id).collect();
    assert_eq!([arrived, world.list_dead_letters(&[]).await].concat(), ids);
}
