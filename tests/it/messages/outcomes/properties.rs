//! AMQP properties and headers: which of them the worker reads, and which a dead letter keeps.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::support::{Snapshot, World, body, now};

#[tokio::test]
async fn attempts_of_a_message_that_somebody_moved_back_by_hand_begin_again() {
    let world = World::new().await;
    let (team, cursed) = (world.team().await, world.event().await);
    world.refuse_deletes().await;
    world.insert(&Snapshot::of(team).event(cursed)).await;
    let mut headers = FieldTable::default();
    headers.insert("lifecycle-attempt".into(), AMQPValue::LongLongInt(5));
    let worker = world.worker().await;
    let message = body(cursed, "confirmed", now());
    let id = serde_json::from_slice::<serde_json::Value>(&message).unwrap()["message_id"].clone();
    world.publish_with(&[message], &BasicProperties::default().with_headers(headers)).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 1.0).await;
    assert_eq!(world.dead_letters().await, 0);
    let told = worker.logged("delete failed; retry scheduled")[0].clone();
    assert_eq!((&told["message_id"], &told["event_id"]), (&id, &cursed.to_string().into()));
}

#[tokio::test]
async fn dead_letter_keeps_the_applications_properties_and_drops_the_brokers() {
    let world = World::new().await;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString("00-abc".into()));
    headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(9));
    headers.insert("lifecycle-exchange".into(), AMQPValue::LongString("forged".into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("text/plain".into())
        .with_correlation_id("c-1".into())
        .with_message_id("m-1".into())
        .with_app_id("backend".into())
        .with_timestamp(1_767_614_400)
        .with_user_id("guest".into())
        .with_expiration("60000".into());
    let worker = world.worker().await;
    world.publish_with(&[b"no json".to_vec()], &properties).await;
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(dead_letter.header("traceparent"), "00-abc");
    // RabbitMQ 3.10 adds a count of its own to what it delivers; ours must not be the publisher's.
    assert_ne!(dead_letter.headers().get("x-delivery-count").map(String::as_str), Some("9"));
    assert_eq!(dead_letter.header("lifecycle-exchange"), world.exchange, "only our own wait queues are believed");
    let kept = dead_letter.properties;
    assert_eq!(kept.content_type().as_ref().unwrap().as_str(), "text/plain");
    assert_eq!(kept.correlation_id().as_ref().unwrap().as_str(), "c-1");
    assert_eq!(kept.message_id().as_ref().unwrap().as_str(), "m-1");
    assert_eq!(kept.app_id().as_ref().unwrap().as_str(), "backend");
    assert_eq!(*kept.timestamp(), Some(1_767_614_400));
    assert!(kept.user_id().is_none() && kept.expiration().is_none());
    worker.stop().await;
}

#[tokio::test]
async fn content_type_and_encoding_are_not_asked() {
    let world = World::new().await;
    let bodies = world.ending_events(4).await;
    let worker = world.worker().await;
    let bare = BasicProperties::default().with_delivery_mode(2);
    for (body, properties) in bodies.into_iter().zip([
        bare.clone().with_content_type("text/plain".into()),
        // Said of a body that is plain JSON all the same.
        bare.clone().with_content_type("application/json".into()).with_content_encoding("gzip".into()),
        bare.clone().with_content_type(String::new().into()),
        bare,
    ]) {
        world.publish_with(&[body], &properties).await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 4.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn time_may_come_as_the_amqp_property() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let bare = format!(r#"{{"event_id":"{event}","status":"confirmed"}}"#).into_bytes();
    let seconds = u64::try_from(now().unix_timestamp()).unwrap();
    world.publish_with(&[bare], &BasicProperties::default().with_timestamp(seconds)).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
}
