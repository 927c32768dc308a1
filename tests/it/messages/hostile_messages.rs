//! Whatever bytes a publisher chooses, its message stops no other: not in the worker, not in a `dlq` command.

use uuid::Uuid;

use crate::support::{
    Network, Proxy, Random, RawProperties, RawPublisher, World, eventually, finish, host_of, raw_amqp,
};

const KEY: &[u8] = b"event.status.confirmed";

/// What RabbitMQ takes and lapin cannot read, or only with a stack without end: a name, a routing key and properties.
fn hostile() -> Vec<(&'static str, &'static [u8], RawProperties)> {
    let headers = RawProperties::with_headers;
    let latin_name = [raw_amqp::short_string(b"gr\xfc\xdfe").as_slice(), b"S\0\0\0\x02\xfc\xdf"].concat();
    vec![
        ("arrays 2,000 deep", KEY, headers(raw_amqp::nested(b'A', 2_000))),
        ("arrays 5,000 deep", KEY, headers(raw_amqp::nested(b'A', 5_000))),
        ("arrays 26,000 deep", KEY, headers(raw_amqp::nested(b'A', 26_000))),
        ("tables 15,000 deep", KEY, headers(raw_amqp::nested(b'F', 15_000))),
        ("a routing key in Latin-1", b"event.status.best\xe4tigt", RawProperties::default()),
        ("a message id in Latin-1", KEY, RawProperties { message_id: Some(b"\xfc-1".to_vec()), ..Default::default() }),
        (
            "a content type in Latin-1",
            KEY,
            RawProperties { content_type: Some(b"\xff".to_vec()), ..Default::default() },
        ),
        ("a header's name in Latin-1", KEY, headers(latin_name)),
        ("20,000 headers", KEY, headers(raw_amqp::tiny_headers(20_000))),
        // With what RabbitMQ adds they are more than a frame.
        ("headers that fill a frame", KEY, headers(raw_amqp::tiny_headers(21_800))),
    ]
}

/// Every command that reads dead letters ends well, and sees them all.
async fn all_commands_see(world: &World, count: usize) {
    let listed = world.run(&["dlq", "list"]).await;
    assert_eq!((listed.code, listed.json().as_array().map(Vec::len)), (0, Some(count)), "{listed:?}");
    let stats = world.run(&["dlq", "stats"]).await;
    assert_eq!((stats.code, stats.json()["letters"].as_u64()), (0, Some(count as u64)), "{stats:?}");
    let exported = world.run(&["dlq", "export"]).await;
    assert_eq!((exported.code, exported.stdout.lines().count()), (0, count), "{exported:?}");
    for position in [1, count / 2, count] {
        let shown = world.run(&["dlq", "show", "--position", &position.to_string()]).await;
        assert_eq!(shown.code, 0, "{shown:?}");
    }
    assert_eq!(world.run(&["dlq", "replay"]).await.code, 0);
    let doctor = world.run(&["doctor", "--output", "table"]).await;
    assert!(doctor.stdout.contains(&format!("{count} dead letters")), "{doctor:?}");
}

#[tokio::test]
async fn hostile_messages_are_judged_by_their_bodies_and_hold_up_nobody() {
    let world = World::new().await;
    let worker = world.worker().await;
    let hostile = hostile();
    let mut bodies = world.ending_events(hostile.len() + 2).await;
    world.publish_raw(&bodies.split_off(hostile.len() + 1)).await;
    let mut publisher = RawPublisher::connect(&world.servers.amqp_url).await;
    for ((_, key, properties), body) in hostile.iter().zip(&bodies) {
        publisher.publish(&world.exchange, key, properties, body).await;
        publisher.publish(&world.exchange, key, properties, b"not json").await;
    }
    world.publish_raw(&bodies[hostile.len()..]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", hostile.len() as f64 + 2.0).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", hostile.len() as f64).await;
    assert!(world.snapshots().await.is_empty(), "each event has ended");
    all_commands_see(&world, hostile.len()).await;

    let exported = world.run(&["dlq", "export"]).await.stdout;
    for repaired in ["event.status.best?tigt", "?-1", "gr??e"] {
        assert!(exported.contains(repaired), "{repaired}: {exported}");
    }
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!((replay.code, &replay.json()["replayed"]), (0, &hostile.len().into()), "{replay:?}");
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 2.0 * hostile.len() as f64).await;
    let purged = world.run(&["dlq", "purge", "--all", "--yes"]).await;
    assert_eq!((purged.code, world.dead_letters().await), (0, 0), "{purged:?}");
    worker.stop().await;
}

#[tokio::test]
async fn hostile_dead_letters_can_be_listed_and_removed_beside_others() {
    let world = World::with_queues().await;
    // Without those for which RabbitMQ itself needs seconds each time.
    let hostile: Vec<_> =
        hostile().into_iter().filter(|(what, ..)| !what.contains("000 deep") || what.contains(" 5,")).collect();
    let mut publisher = RawPublisher::connect(&world.servers.amqp_url).await;
    let dlx = format!("{}.dlx", world.queue);
    publisher.publish(&dlx, KEY, &RawProperties::default(), b"before").await;
    for (_, key, properties) in &hostile {
        publisher.publish(&dlx, key, properties, b"").await;
        // And so that RabbitMQ itself dead-letters it.
        let brief = RawProperties { expiration: Some(b"1".to_vec()), ..properties.clone() };
        publisher.publish(&world.exchange, key, &brief, b"").await;
    }
    publisher.publish(&dlx, KEY, &RawProperties::default(), b"behind").await;
    let count = 2 * hostile.len() + 2;
    eventually("all to be dead letters", async || world.dead_letters().await as usize == count).await;
    all_commands_see(&world, count).await;
    let purged = world.run(&["dlq", "purge", "--all", "--yes"]).await;
    assert_eq!((purged.code, world.dead_letters().await), (0, 0), "{purged:?}");
}

/// RabbitMQ adds `x-death`, with which they are more than a frame; what comes behind them in the same pieces stays as it is.
#[tokio::test]
async fn headers_larger_than_a_frame_lose_some_in_whatever_pieces_they_come() {
    let world = World::with_queues().await;
    let mut publisher = RawPublisher::connect(&world.servers.amqp_url).await;
    let mut bodies = Vec::new();
    for number in 0..6_u32 {
        let count = if number % 2 == 0 { 21_800 } else { 3 };
        let brief = RawProperties {
            headers: Some(raw_amqp::tiny_headers(count)),
            expiration: Some(b"1".to_vec()),
            ..RawProperties::default()
        };
        bodies.push(format!("body {number}"));
        publisher.publish(&world.exchange, KEY, &brief, bodies[bodies.len() - 1].as_bytes()).await;
    }
    eventually("all to be dead letters", async || world.dead_letters().await == 6).await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    proxy.set(Network::Slow);
    let mut command = world.program(&["dlq", "export"]);
    command.env("AMQP_URL", proxy.url(&world.servers.amqp_url));
    let exported = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
    assert_eq!(exported.code, 0, "{exported:?}");
    assert!(exported.stderr.contains("headers left out"), "{}", exported.stderr);
    let dead_letters: Vec<serde_json::Value> =
        exported.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON in each line")).collect();
    let read: Vec<_> = dead_letters.iter().map(|dead_letter| dead_letter["body"].as_str().unwrap()).collect();
    assert_eq!(read, bodies);
    assert!(dead_letters.iter().all(|dead_letter| dead_letter["reason"] == "expired"), "what the broker says stays");
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a failure is brought back by its seed")]
async fn random_headers_and_names_hold_up_nobody() {
    let mut random = Random::new();
    eprintln!("FAULTS_SEED={}", random.seed);
    let world = World::new().await;
    let worker = world.worker().await;
    let bodies = world.ending_events(300).await;
    let mut publisher = RawPublisher::connect(&world.servers.amqp_url).await;
    for body in &bodies {
        let key = [b"event.status.", raw_amqp::random_bytes(&mut random, 30).as_slice()].concat();
        let properties = RawProperties {
            content_type: Some(raw_amqp::random_bytes(&mut random, 30)),
            headers: Some(raw_amqp::random_headers(&mut random)),
            expiration: None,
            message_id: Some(Uuid::new_v4().to_string().into_bytes()),
        };
        publisher.publish(&world.exchange, &key, &properties, body).await;
        publisher.publish(&world.exchange, &key, &properties, b"{").await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 300.0).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 300.0).await;
    assert!(world.snapshots().await.is_empty());
    let exported = world.run(&["dlq", "export"]).await;
    assert_eq!((exported.code, exported.stdout.lines().count()), (0, 300), "{exported:?}");
    worker.stop().await;
}
