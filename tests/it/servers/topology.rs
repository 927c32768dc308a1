//! Exchanges and queues: declared, verified, in the way.

use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use time::OffsetDateTime;

use crate::support::{Servers, Snapshot, World, as_user, body, eventually};

#[tokio::test]
async fn verify_declares_nothing_and_names_what_is_missing() {
    let world = World::new().await;
    let refused = world.run(&["run", "--topology", "verify", "--http-addr", "127.0.0.1:0"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for missing in [
        format!("exchange {}", world.exchange),
        format!("exchange {}.dlx", world.queue),
        format!("queue {}", world.queue),
        format!("queue {}.dead-letter", world.queue),
        "LIFECYCLE_TOPOLOGY=declare".to_owned(),
    ] {
        assert!(refused.stderr.contains(&missing), "{missing}: {refused:?}");
    }
    let again = world.run(&["run", "--topology", "verify", "--http-addr", "127.0.0.1:0"]).await;
    assert!(again.stderr.contains(&format!("queue {}", world.queue)), "the first must not have declared it");
}

#[tokio::test]
async fn verify_works_on_what_another_has_declared() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.worker().await.stop().await;
    let worker = world.worker_with(&[("LIFECYCLE_TOPOLOGY", "verify")]).await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
}

#[tokio::test]
async fn queue_of_another_kind_is_refused_with_the_fix() {
    let world = World::new().await;
    let (connection, channel) = world.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(world.queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
    let refused = world.run(&["run", "--http-addr", "127.0.0.1:0"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&world.queue) && refused.stderr.contains("inequivalent arg"), "{refused:?}");
    assert!(refused.stderr.contains("LIFECYCLE_TOPOLOGY=verify"), "{refused:?}");
    channel.queue_delete(world.queue.as_str().into(), Default::default()).await.unwrap();
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn wait_queues_keep_a_message_for_as_long_as_their_names_say() {
    let world = World::new().await;
    world.worker().await.stop().await;
    // RabbitMQ takes the declaration of a queue that exists only with the arguments that it has.
    let declared = async |delay: &str, milliseconds: i64| {
        let (connection, channel) = world.channel().await;
        let mut arguments = FieldTable::default();
        for (name, value) in [
            ("x-queue-type", "quorum"),
            ("x-dead-letter-exchange", &format!("{}.retry", world.queue)),
            ("x-dead-letter-routing-key", "work"),
            ("x-dead-letter-strategy", "at-least-once"),
            ("x-overflow", "reject-publish"),
        ] {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(milliseconds));
        let queue = format!("{}.wait.{delay}", world.queue);
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared = channel.queue_declare(queue.as_str().into(), durable, arguments).await;
        connection.close(200, "done".into()).await.ok();
        declared.map(drop).map_err(|error| error.to_string())
    };
    for (delay, milliseconds) in [("1s", 1_000), ("10s", 10_000), ("1m", 60_000), ("10m", 600_000)] {
        assert_eq!(declared(delay, milliseconds).await, Ok(()), "{delay}");
        let other = declared(delay, milliseconds + 1).await.unwrap_err();
        assert!(other.contains("x-message-ttl"), "{delay}: {other}");
    }
}

/// RabbitMQ moves what has waited by a publisher of its own. Where the work queue has refused it, it tries again after three minutes,
/// here after a second; but it is refused for ever where the limit was taken away and the queue has none of its own.
#[tokio::test]
async fn messages_that_have_waited_move_on_when_a_limit_of_the_work_queue_is_gone() {
    let servers = Servers::private();
    let ctl = |arguments: &[&str]| servers.control(&[&["rabbitmq", "ctl"], arguments].concat());
    let retry_after = |ms: u32| {
        ctl(&["eval", &format!("application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, {ms}).")]);
    };
    retry_after(1_000);
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    retry_after(180_000);
    let (queue, retry) = (world.queue.as_str(), format!("{}.retry", world.queue));
    let (connection, channel) = world.channel().await;
    let publish = async |exchange: &str, key: &str| {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = channel.basic_publish(exchange.into(), key.into(), options, b"not json", properties).await;
        sent.unwrap().await.unwrap().is_ack()
    };
    ctl(&["set_policy", "limit", &format!("^{queue}$"), r#"{"max-length": 1}"#]);
    eventually("the queue to be full", async || !publish("", queue).await).await;
    assert!(publish(&retry, "1s").await, "the wait queue has room");
    let held = format!("{queue}.wait.1s\t1\t0");
    eventually("the broker to hold what has waited", async || {
        ctl(&["list_queues", "name", "messages", "messages_ready"]).contains(&held)
    })
    .await;
    ctl(&["clear_policy", "limit"]);
    channel.queue_purge(queue.into(), Default::default()).await.unwrap();
    eventually("it to be back in the work queue", async || world.depth(queue).await == 1).await;
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn work_queue_of_an_earlier_version_is_used_as_it_is() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let (connection, channel) = world.channel().await;
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", &format!("{}.dlx", world.queue)),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(20));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(world.queue.as_str().into(), durable, arguments).await.unwrap();
    let worker = world.worker().await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.stop().await;
    let doctor = world.run(&["doctor", "--output", "table"]).await;
    assert!(doctor.stdout.contains("are as `run` declares them"), "{doctor:?}");
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn backends_exchange_with_properties_of_its_own_is_used_as_it_is() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let (connection, channel) = world.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), AMQPValue::LongString("amq.fanout".into()));
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(world.exchange.as_str().into(), ExchangeKind::Topic, durable, arguments).await.unwrap();
    let worker = world.worker().await;
    world.publish_raw(&[body(event, "confirmed", OffsetDateTime::now_utc())]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn wrong_password_stops_at_the_start_and_is_not_shown() {
    let world = World::new().await;
    let mut command = world.program(&["run", "--http-addr", "127.0.0.1:0"]);
    command.env("AMQP_URL", as_user(&world.servers.amqp_url, "guest", "not-the-password"));
    let refused = crate::support::finish(command);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("ACCESS"), "{refused:?}");
    assert!(!refused.stderr.contains("not-the-password"), "{refused:?}");
}

#[tokio::test]
async fn deleted_queues_and_exchanges_of_the_worker_are_made_again_while_it_runs() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (connection, channel) = world.channel().await;
    for (number, gone) in ["dead-letter", "dlx"].into_iter().enumerate() {
        let name = format!("{}.{gone}", world.queue);
        if gone == "dlx" {
            channel.exchange_delete(name.as_str().into(), Default::default()).await.unwrap();
        } else {
            channel.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
        }
        let doctor = world.run(&["doctor", "--output", "table"]).await;
        assert!(doctor.code == 1 && doctor.stdout.contains("missing, although a worker consumes"), "{doctor:?}");
        world.publish_raw(&[b"not json".to_vec()]).await;
        worker.reaches("messages_total{outcome=\"dead_lettered\"}", number as f64 + 1.0).await;
    }
    let doctor = world.run(&["doctor", "--output", "table"]).await;
    assert!(!doctor.stdout.contains("missing, although"), "{doctor:?}");
    world.take_dead_letters(2).await;
    worker.stop().await;
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn exchange_that_cannot_route_is_refused_and_one_that_can_is_used() {
    let world = World::new().await;
    let (connection, channel) = world.channel().await;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declare = async |kind| {
        channel.exchange_declare(world.exchange.as_str().into(), kind, durable, FieldTable::default()).await.unwrap();
    };
    declare(ExchangeKind::Direct).await;
    let refused = world.run(&["run", "--http-addr", "127.0.0.1:0"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("is a direct exchange"), "{refused:?}");
    assert!(refused.stderr.contains("LIFECYCLE_EXCHANGE"), "the fix: {refused:?}");
    let doctor = world.run(&["doctor", "--output", "table"]).await;
    assert!(doctor.code == 1 && doctor.stdout.contains("is a direct exchange"), "{doctor:?}");
    channel.exchange_delete(world.exchange.as_str().into(), Default::default()).await.unwrap();

    declare(ExchangeKind::Fanout).await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.stop().await;
    connection.close(200, "done".into()).await.ok();
}
