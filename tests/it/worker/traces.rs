//! Traces that a worker sends to a collector, and what a message carries of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use lapin::BasicProperties;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use snapshot_lifecycle::{EventStatus, StatusMessage, StatusPublisher, TraceContext};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use uuid::Uuid;

use crate::support::{
    Collector, Obstacle, ReceivedMessage, ReceivedSpan, Snapshot, TempFile, Worker, World, body, eventually, finish,
    now, set, with_headers,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const LOST: &str = "collector takes no traces; they are dropped until it does";
/// OTLP's numbers.
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

const READ_ONLY: &str = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";

fn traceparent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

async fn worker(world: &World, collector: &Collector, variables: &[(&str, &str)]) -> Worker {
    let url = collector.url();
    let ours = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    world.worker_with(&[&ours, variables].concat()).await
}

fn of_a_batch(world: &World) -> String {
    format!("process {}:{}", world.exchange, world.queue)
}

/// Publishes a message for an event that has a snapshot, as the traced span of another program.
async fn publish_traced(world: &World) -> Uuid {
    let event = world.event().await;
    world.insert(&Snapshot::of(world.team().await).event(event)).await;
    let properties = with_headers(&[("traceparent", &traceparent())]).with_delivery_mode(2);
    world.publish_with(&[body(event, "confirmed", now())], &properties).await;
    event
}

#[tokio::test]
async fn one_message_is_one_trace_from_its_publisher_to_the_delete() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")];
    let worker = worker(&world, &collector, &headers).await;
    let event = world.event().await;
    world.insert(&Snapshot::of(world.team().await).event(event)).await;
    let context: TraceContext = traceparent().parse().unwrap();
    let message = StatusMessage::new(event, EventStatus::Confirmed, now())
        .with_message_id(Uuid::from_u128(7))
        .with_trace_context(context.with_state("vendor=a"));
    let publisher = StatusPublisher::new(&world.servers.amqp_url, &world.exchange).unwrap();
    publisher.publish(&message).await.unwrap();
    publisher.close().await;

    let batch = collector.spans_named(&of_a_batch(&world), 1).await.remove(0);
    assert_eq!((batch.kind, batch.trace_id.as_str(), batch.parent.as_str()), (CONSUMER, TRACE, SPAN));
    let [(trace, span, attributes)] = batch.links.as_slice() else { panic!("one link: {batch:?}") };
    let id = Uuid::from_u128(7).to_string();
    assert_eq!((trace.as_str(), span.as_str(), &attributes["messaging.message.id"]), (TRACE, SPAN, &id));
    for (name, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &format!("{}:{}", world.exchange, world.queue)),
        ("messaging.message.id", &id),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(batch.attributes[name], value, "{name}");
    }
    assert!(!batch.is_error && !batch.attributes.contains_key("messaging.batch.message_count"), "{batch:?}");
    assert_eq!(batch.resource["service.name"], "snapshot-lifecycle");
    assert_eq!(batch.resource["service.version"], env!("CARGO_PKG_VERSION"));

    let delete = collector.spans_named("DELETE snapshots", 1).await.remove(0);
    let settle = collector.spans_named(&of_a_batch(&world).replace("process", "settle"), 1).await.remove(0);
    for step in [&delete, &settle] {
        assert_eq!((step.kind, &step.trace_id, &step.parent), (CLIENT, &batch.trace_id, &batch.span_id));
        assert!(batch.began <= step.began && step.ended <= batch.ended, "{step:?} is within {batch:?}");
    }
    assert!(delete.ended <= settle.began);
    assert_eq!(delete.attributes["db.system.name"], "postgresql");
    let request = &collector.requests()[0];
    assert_eq!((request[":path"].as_str(), request["authorization"].as_str()), ("/v1/traces", "Bearer abc"));
    let said = format!("{:?}", collector.spans());
    assert!(!said.contains(&event.to_string()), "no id of the backend's is sent");
    worker.stop().await;
}

#[tokio::test]
async fn batch_of_many_is_a_trace_of_its_own_with_a_link_to_each_that_it_can_hold() {
    let (world, collector) = (World::with_queues().await, Collector::start().await);
    let bodies = world.ending_events(200).await;
    for (number, body) in bodies.iter().enumerate() {
        // The last one alone may be recorded by its publisher.
        let flags = if number == 199 { "01" } else { "00" };
        let traceparent = format!("00-{:032x}-{SPAN}-{flags}", number + 1);
        let properties = with_headers(&[("traceparent", &traceparent)]).with_delivery_mode(2);
        world.publish_with(std::slice::from_ref(body), &properties).await;
    }
    let worker = worker(&world, &collector, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 200.0).await;
    let batch = collector.spans_named(&of_a_batch(&world), 1).await.remove(0);
    let count: usize = batch.attributes.get("messaging.batch.message_count").map_or(1, |text| text.parse().unwrap());
    assert_eq!(batch.links.len(), count.min(128), "{batch:?}");
    assert_eq!(batch.links[0].0, format!("{:032x}", 200), "what leads to a recorded span comes first");
    let traces: BTreeSet<_> = batch.links.iter().map(|(trace, ..)| trace).collect();
    assert_eq!(traces.len(), batch.links.len());
    if count > 1 {
        assert!(batch.parent.is_empty() && !traces.contains(&batch.trace_id), "{batch:?}");
    }
    worker.stop().await;
    // Those in whose batches nothing was recorded are not, either.
    let names = collector.spans().iter().filter(|span| span.name == of_a_batch(&world)).count();
    assert_eq!(names, 1);
}

#[tokio::test]
async fn trace_is_kept_through_retry_dead_letter_and_replay() {
    let (world, collector) = (World::with_queues().await, Collector::start().await);
    let event = world.event().await;
    let row = world.insert(&Snapshot::of(world.team().await).event(event)).await;
    world.obstruct(row, Obstacle::Raises("P0001")).await;
    let worker = worker(&world, &collector, &[("LIFECYCLE_MAX_ATTEMPTS", "2")]).await;
    let properties = with_headers(&[("traceparent", &traceparent())]).with_delivery_mode(2);
    world.publish_with(&[body(event, "confirmed", now())], &properties).await;
    worker.reaches("dead_letters_total{reason=\"attempts_exhausted\"}", 1.0).await;
    let dead = world.run(&["dlq", "show", "--event-id", &event.to_string()]).await.json();
    assert_eq!(dead[0]["headers"]["traceparent"], traceparent());
    world.clear_obstacles().await;
    assert_eq!(world.run(&["dlq", "replay", "--yes"]).await.code, 0);
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    // Two attempts, each in a batch and then in steps, and the replay.
    let mut batches = collector.spans_named(&of_a_batch(&world), 5).await;
    let of_the_trace = |span: &ReceivedSpan| (span.trace_id == TRACE, span.parent == SPAN, span.is_error);
    assert!(batches.iter().all(|span| of_the_trace(span) == (true, true, false)), "{batches:?}");
    batches.sort_by_key(|span| span.ended);
    let events: Vec<_> = batches.iter().flat_map(|span| &span.events).collect();
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["in steps", "retry", "in steps", "dead letter"]);
    assert_eq!(events[3].1["snapshot_lifecycle.reason"], "attempts_exhausted");
    for line in [
        &worker.logged("delete failed; retry scheduled")[0],
        &worker.logged("message goes to the dead-letter queue")[0],
    ] {
        assert_eq!(line["trace_id"], TRACE);
    }
    worker.stop().await;
}

#[tokio::test]
async fn headers_that_are_no_trace_context_are_as_good_as_none() {
    let (world, collector) = (World::with_queues().await, Collector::start().await);
    let worker = worker(&world, &collector, &[("OTEL_SERVICE_NAME", "ours")]).await;
    let odd = ["", "00-trace-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"];
    for traceparent in odd {
        let properties = with_headers(&[("traceparent", traceparent)]).with_delivery_mode(2);
        let bodies = world.ending_events(1).await;
        world.publish_with(&bodies, &properties).await;
    }
    let bodies = world.ending_events(1).await;
    world.publish_with(&bodies, &BasicProperties::default().with_delivery_mode(2)).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 4.0).await;
    worker.stop().await; // what is left is sent at the end
    let batches = collector.spans().into_iter().filter(|span| span.kind == CONSUMER);
    for batch in batches {
        assert!(batch.links.is_empty() && batch.parent.is_empty(), "{batch:?}");
        assert_eq!(batch.resource["service.name"], "ours");
    }
}

#[tokio::test]
async fn batch_that_is_held_says_so_and_one_that_returns_to_the_queue_is_an_error() {
    let (world, collector) = (World::with_queues().await, Collector::start().await);
    let worker = worker(&world, &collector, &[]).await;
    let bodies = world.ending_events(1).await;
    world.sql(READ_ONLY).await;
    world.terminate_backends().await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    worker.stop().await;
    let batch = collector.spans_named(&of_a_batch(&world), 1).await.remove(0);
    assert_eq!((batch.is_error, batch.attributes["error.type"].as_str()), (true, "not_settled"), "{batch:?}");
    let held = collector.spans_named("DELETE snapshots", 1).await.remove(0);
    assert_eq!((held.is_error, held.attributes["error.type"].as_str()), (true, "held"), "{held:?}");
}

#[tokio::test]
async fn collector_that_is_away_costs_nothing_but_the_traces() {
    let world = World::with_queues().await;
    let gone = Collector::start().await;
    let address = gone.address();
    let worker = worker(&world, &gone, &[]).await;
    drop(gone);
    publish_traced(&world).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    let lost = || worker.logged(LOST);
    eventually("the loss to be logged", async || lost().len() == 1).await;
    assert_eq!(worker.get("/readyz").0, 200);
    let back = Collector::start_at(address, None).await;
    publish_traced(&world).await;
    back.spans_named(&of_a_batch(&world), 1).await;
    eventually("the return to be logged", async || worker.logged("collector takes traces again").len() == 1).await;
    assert_eq!(lost().len(), 1);
    drop(back);
    publish_traced(&world).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 3.0).await;
    worker.stop().await;
    assert_eq!(world.snapshots().await, set([]));
}

#[tokio::test]
async fn collector_over_https_is_reached_with_its_authority_and_not_without() {
    let world = World::with_queues().await;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (authority, key) = (TempFile::new(cert.pem()), PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let collector = Collector::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), Some(tls)).await;
    let endpoint = format!("https://{}/anywhere", collector.address());
    let endpoint = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    // The system's authorities have not signed it.
    let worker = world.worker_with(&endpoint).await;
    publish_traced(&world).await;
    eventually("the refusal to be logged", async || worker.logged(LOST).len() == 1).await;
    let said = &worker.logged(LOST)[0];
    assert!(said["error"].as_str().unwrap().contains("certificate"), "{said}");
    assert_eq!(collector.requests().len(), 0);
    worker.stop().await;
    let worker = world.worker_with(&[&endpoint[..], &[("SSL_CERT_FILE", authority.path())]].concat()).await;
    publish_traced(&world).await;
    collector.spans_named(&of_a_batch(&world), 1).await;
    assert_eq!(collector.requests()[0][":path"], "/anywhere");
    worker.stop().await;
}

#[tokio::test]
async fn publish_continues_the_trace_of_whoever_calls_it() {
    let world = World::with_queues().await;
    let queue = world.copy_messages().await;
    let publish = |variables: &[(&str, &str)]| {
        let id = Uuid::new_v4().to_string();
        let mut command = world.program(&["publish", "--event-id", &id, "--status", "lead"]);
        command.envs(variables.iter().copied());
        let done = finish(command);
        assert_eq!(done.code, 0, "{done:?}");
    };
    publish(&[("TRACEPARENT", &traceparent()), ("TRACESTATE", "vendor=a")]);
    publish(&[("TRACEPARENT", "nonsense"), ("TRACESTATE", "vendor=a")]);
    publish(&[]);
    let mut received: Vec<_> = world.drain(&queue).await.iter().map(ReceivedMessage::headers).collect();
    received.sort_by_key(BTreeMap::is_empty);
    let expected = [("traceparent".to_owned(), traceparent()), ("tracestate".to_owned(), "vendor=a".to_owned())];
    assert_eq!(received, [expected.into(), [].into(), [].into()]);
}

#[tokio::test]
async fn variable_that_cannot_be_followed_ends_the_worker_with_the_fix() {
    let world = World::new().await;
    for (name, value, fix) in [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "allowed: http/protobuf (collectors take it on port 4318; 4317 is gRPC)",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "allowed: http://HOST:PORT or https://HOST:PORT"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_traceidratio"),
    ] {
        let mut command = world.program(&["run"]);
        command.env("LIFECYCLE_HTTP_ADDR", "127.0.0.1:0").env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        command.env(name, value);
        let done = finish(command);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains(fix), "{done:?}");
    }
}
