use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::support::{Checkup, Servers, World, as_user, checkup, checkup_with, eventually, finish};

#[tokio::test]
async fn drift_of_the_topology_is_named_by_argument() {
    let world = World::new().await;
    let (connection, channel) = world.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let quorum = |more: &[(&str, AMQPValue)]| {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        for (name, value) in more {
            table.insert((*name).into(), value.clone());
        }
        table
    };
    let dead = format!("{}.dead-letter", world.queue);
    let limit = ("x-delivery-limit", AMQPValue::LongLongInt(1_000_000_000));
    let full = quorum(&[limit, ("x-max-length", AMQPValue::LongLongInt(10))]);
    channel.queue_declare(dead.as_str().into(), durable, full).await.unwrap();
    channel.queue_declare(world.queue.as_str().into(), durable, quorum(&[])).await.unwrap();
    let kind = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(world.exchange.as_str().into(), ExchangeKind::Direct, kind, FieldTable::default())
        .await
        .unwrap();
    let sick = checkup(&world, &[]).await;
    sick.has("rabbitmq.exchange", "failed", "is a direct exchange", "topic exchange");
    sick.has("rabbitmq.topology", "failed", "x-max-length", "LIFECYCLE_TOPOLOGY=verify");
    sick.has("rabbitmq.topology", "failed", "dead letters are rejected or dropped", "delete it");
    sick.has("rabbitmq.topology", "failed", &format!("queue {}: ", world.queue), "delete it");
    sick.has("rabbitmq.topology", "ok", &format!("{}.wait.10m", world.queue), "");
    let verified = checkup(&world, &["--topology", "verify"]).await;
    verified.has("rabbitmq.topology", "warning", "x-max-length", "declare it again");
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn exchange_without_queue_and_dead_letter_queue_without_room_are_found_by_a_probe() {
    let servers = Servers::private();
    let pair = servers.pair();
    let world = World::on(pair.clone()).await;
    world.worker().await.stop().await;
    let (connection, channel) = world.channel().await;
    let (queue, exchange) = (world.queue.as_str(), world.exchange.as_str());
    channel.queue_unbind(queue.into(), exchange.into(), "event.status.#".into(), FieldTable::default()).await.unwrap();
    let policy = r#"{"max-length": 1, "overflow": "reject-publish"}"#;
    servers.control(&["rabbitmq", "ctl", "set_policy", "-p", "/", "full", &format!("^{queue}.dead-letter$"), policy]);
    for _ in 0..3 {
        let dead_letter = channel.basic_publish(
            format!("{queue}.dlx").into(),
            "".into(),
            Default::default(),
            b"{}",
            lapin::BasicProperties::default(),
        );
        dead_letter.await.unwrap().await.unwrap();
    }
    // Without --probe nothing is sent, so nothing of it can be seen but the dead letters.
    let quiet = checkup(&world, &[]).await;
    quiet.has("rabbitmq.dead_letters", "warning", "dead letters wait", "dlq stats");
    assert!(quiet.of_state("failed").iter().all(|line| line["check"] != "rabbitmq.probe.exchange"));
    eventually("the policy to hold", async || {
        let sick = checkup(&world, &["--probe"]).await;
        sick.has("rabbitmq.probe.exchange", "failed", "unroutable", "event.status.#");
        sick.checks.iter().any(|line| line["check"] == "rabbitmq.probe.dead_letters" && line["state"] == "failed")
    })
    .await;
    let sick = checkup(&world, &["--probe"]).await;
    sick.has("rabbitmq.probe.dead_letters", "failed", "refused by the broker", "max-length");

    servers.control(&["rabbitmq", "ctl", "clear_policy", "-p", "/", "full"]);
    let bound = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), exchange.into(), "event.status.#".into(), bound, FieldTable::default())
        .await
        .unwrap();
    eventually("the probe to pass", async || {
        let well = checkup(&world, &["--probe"]).await;
        well.checks
            .iter()
            .filter(|line| line["check"].as_str().unwrap().contains("probe") && line["state"] == "ok")
            .count()
            == 2
    })
    .await;
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn permissions_that_the_worker_lacks_are_listed() {
    let servers = Servers::private();
    let world = World::on(servers.pair().clone()).await;
    world.worker().await.stop().await;
    let user = format!("u{}", uuid::Uuid::new_v4().simple());
    let url = as_user(&servers.pair().amqp_url, &user, "secret");
    let ctl = |words: &[&str]| servers.control(&[&["rabbitmq", "ctl"], words].concat());
    ctl(&["add_user", &user, "secret"]);
    let outside = checkup_with(&world, &[("AMQP_URL", &url)]);
    outside.has("rabbitmq.connection", "failed", "", "set_permissions");

    ctl(&["set_permissions", "-p", "/", &user, "^$", "^$", "^$"]);
    let bare = checkup_with(&world, &[("AMQP_URL", &url)]);
    bare.has("rabbitmq.permissions", "failed", &format!("read queue {}", world.queue), "set_permissions");
    bare.has("rabbitmq.permissions", "failed", &format!("write to exchange {}.dlx", world.queue), "");
    bare.has("rabbitmq.permissions", "failed", &format!("configure queue {}.wait.1s", world.queue), "");
    bare.has("rabbitmq.permissions", "failed", &format!("configure exchange {}.retry", world.queue), "");
    bare.has(
        "rabbitmq.permissions",
        "failed",
        &format!("bind queue {0} to exchange {1}", world.queue, world.exchange),
        "",
    );
    bare.has("rabbitmq.topology", "ok", "may not see the arguments", "");

    let queue = regex_of(&world.queue);
    // All but the exchanges, which do not exist yet.
    let nowhere = [("AMQP_URL", url.as_str()), ("LIFECYCLE_EXCHANGE", "not.there")];
    ctl(&["set_permissions", "-p", "/", &user, &format!("^{queue}(\\.(dead-letter|wait\\..+))?$"), ".*", ".*"]);
    let queues_only = checkup_with(&world, &nowhere);
    queues_only.has("rabbitmq.permissions", "failed", &format!("configure exchange {}.dlx", world.queue), "");
    queues_only.has("rabbitmq.permissions", "failed", "configure exchange not.there", "");
    queues_only.has_not("rabbitmq.permissions", "failed", "configure queue");
    ctl(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"]);
    checkup_with(&world, &nowhere).has("rabbitmq.permissions", "ok", "may do", "");
    world.run(&["dlq", "list"]).await.json(); // asking has left nothing behind that is in the way
    ctl(&["set_permissions", "-p", "/", &user, "^$", &format!("^{queue}\\.(dlx|retry)$"), &format!("^{queue}$")]);
    let mut command = world.program(&["doctor", "--topology", "verify"]);
    command.env("AMQP_URL", &url);
    let enough = Checkup::new(finish(command));
    enough.has("rabbitmq.permissions", "ok", "may do", "");
    assert!(!enough.finished.stdout.contains("secret"));
    ctl(&["delete_user", &user]);
}

fn regex_of(name: &str) -> String {
    name.replace('.', "\\.")
}
