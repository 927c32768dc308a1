//! Malformed messages through the worker: each becomes a dead letter with its reason, byte for byte, and none is in the way of a good one.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use time::OffsetDateTime;

use crate::support::{Snapshot, World, body, eventually};

/// Reason and body of each line of the corpus.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let read = |line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let bytes =
            |hex: &str| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let body =
            line["body"].as_str().map_or_else(|| bytes(line["hex"].as_str().unwrap()), |body| body.as_bytes().to_vec());
        (line["reason"].as_str().unwrap().to_owned(), body)
    };
    include_str!("../../fixtures/malformed.ndjson").lines().map(read).collect()
}

#[tokio::test]
async fn whole_corpus_is_dead_lettered_byte_for_byte_and_good_messages_pass_between() {
    let world = World::new().await;
    let worker = world.worker().await;
    let corpus = corpus();
    let team = world.team().await;
    let mut bodies = Vec::new();
    for (n, (_, bad)) in corpus.iter().enumerate() {
        bodies.push(bad.clone());
        if n % 50 == 0 {
            let event = world.event().await;
            world.insert(&Snapshot::of(team).event(event)).await;
            bodies.push(body(event, "confirmed", OffsetDateTime::now_utc()));
        }
    }
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", corpus.len() as f64).await;
    let dead_letters = world.take_dead_letters(u32::try_from(corpus.len()).unwrap()).await;
    let mut found: Vec<_> =
        dead_letters.into_iter().map(|dead_letter| (dead_letter.reason(), dead_letter.body)).collect();
    let mut expected = corpus;
    found.sort();
    expected.sort();
    assert!(found == expected, "each with its reason, byte for byte");
    eventually("the good ones to be applied", async || world.snapshots().await.is_empty()).await;
    worker.stop().await;
}

/// Header values of every kind that AMQP knows, nested.
fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            table(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

/// Some of the names are those that the worker reads.
fn table(value: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    let name = prop_oneof![
        "[a-z]{1,12}",
        Just("lifecycle-attempt".to_owned()),
        Just("lifecycle-reason".to_owned()),
        Just("lifecycle-replay-count".to_owned()),
        Just("lifecycle-exchange".to_owned()),
        Just("lifecycle-routing-key".to_owned()),
        Just("lifecycle-error".to_owned()),
        Just("traceparent".to_owned()),
    ];
    prop::collection::btree_map(name, value, 0..8).prop_map(|entries| {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert(name.into(), value);
        }
        table
    })
}

#[tokio::test]
async fn headers_of_any_shape_neither_stop_a_good_message_nor_spoil_a_dead_letter() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (team, mut runner) = (world.team().await, TestRunner::deterministic());
    for _ in 0..60 {
        let headers = table(value()).new_tree(&mut runner).unwrap().current();
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        let good = body(event, "confirmed", OffsetDateTime::now_utc());
        world.publish_with(&[good, b"not json".to_vec()], &properties).await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 60.0).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 60.0).await;
    let listed = world.run(&["dlq", "list"]).await.json();
    assert!(listed.as_array().unwrap().iter().all(|dead_letter| dead_letter["reason"] == "invalid_json"), "{listed}");
    let shown = world.run(&["dlq", "show", "--limit", "60", "--output", "table"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    // Whatever count of replays a publisher made up, these are to be replayed.
    let replay = world.run(&["dlq", "replay", "--max-replays", &u32::MAX.to_string(), "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &60.into()), "{replay:?}");
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 120.0).await;
    assert!(world.snapshots().await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn sixteen_mebibyte_messages_in_a_row_stay_within_prefetch_times_their_size() {
    const SIZE: usize = 16 * 1024 * 1024;
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_PREFETCH", "4")]).await;
    for _ in 0..5 {
        world.publish_raw(&vec![vec![b' '; SIZE]; 5]).await;
    }
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 25.0).await;
    let peak = worker.peak_memory();
    // Each exists twice while its dead letter is on its way, and once more in the buffers of the connection.
    assert!(peak < 3 * (4 + 1) * SIZE, "{} MiB", peak / 1024 / 1024);
    worker.stop().await;
    let purge = world.run(&["dlq", "purge", "--all", "--yes"]).await;
    assert_eq!(purge.json()["purged"], 25, "{purge:?}");
}
