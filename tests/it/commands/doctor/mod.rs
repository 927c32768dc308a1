//! `doctor`: finds each mistake and says how to fix it, accepts a healthy deployment, changes nothing.

mod database;
mod rabbitmq;

use std::net::TcpListener;

use crate::support::{Servers, Snapshot, World, checkup, checkup_with, eventually, finish, host_of, settled};

#[tokio::test]
async fn healthy_deployment_passes_without_a_warning() {
    let world = World::new().await;
    let role = world.worker_role();
    let url = world.url_as(&role);
    let worker = settled(&world, &[("DATABASE_URL", &url)]).await;
    world.insert(&Snapshot::of(world.team().await)).await;

    let well = checkup_with(&world, &[("DATABASE_URL", &url)]);
    assert!(well.checks.iter().all(|line| line["state"] == "ok" && line["fix"].is_null()), "{}", well.finished.stdout);
    well.has("database.role", "ok", &role, "");
    well.has("database.pooler", "ok", "a session of its own", "");
    well.has("rabbitmq.version", "ok", "RabbitMQ", "");
    well.has("rabbitmq.topology", "ok", "8 exchanges and queues", "");
    well.has("rabbitmq.consumers", "ok", "consumers: 1; messages that wait: 0", "");

    let mut command = world.program(&["doctor", "--output", "table", "--probe"]);
    command.env("DATABASE_URL", &url);
    let text = finish(command);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.ends_with("every check is ok\n"), "{text:?}");
    assert!(text.stdout.lines().any(|line| line.starts_with("ok       database.indexes ")), "{text:?}");
    assert!(text.stdout.contains("ok       rabbitmq.probe.exchange"), "{text:?}");
    // What the probe sent was taken for what it is, and the dead letter is forgotten.
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    eventually("the probe's dead letter to expire", async || world.dead_letters().await == 0).await;
    assert_eq!((world.snapshots().await.len(), worker.metric("messages_total{outcome=\"dead_lettered\"}")), (1, 0.0));
    worker.stop().await;
    world.drop_role(&role).await;
}

#[tokio::test]
async fn inspecting_an_empty_deployment_creates_nothing() {
    let world = World::bare(Servers::shared()).await;
    let first = checkup(&world, &[]).await;
    first.has("database.schema", "failed", "never migrated", "snapshot-lifecycle migrate");
    first.has("rabbitmq.exchange", "ok", "does not exist yet", "");
    first.has("rabbitmq.topology", "ok", "none of the worker's exchanges and queues exists yet", "");
    first.has("rabbitmq.permissions", "ok", "may do", "");

    let again = checkup(&world, &["--topology", "verify"]).await;
    let schemas: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'snapshot_lifecycle'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(schemas, 0);
    again.has("rabbitmq.exchange", "failed", &world.exchange, "LIFECYCLE_EXCHANGE");
    let own = format!("queue {0}.dead-letter, queue {0}, queue {0}.wait.1s", world.queue);
    again.has("rabbitmq.topology", "failed", &own, "LIFECYCLE_TOPOLOGY=declare");
}

#[tokio::test]
async fn causes_of_a_failed_connection_are_told_apart() {
    let world = World::new().await;
    let database = world.database_url.rsplit_once('/').unwrap().0;
    let host = host_of(&world.servers.amqp_url);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = silent.local_addr().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, message, fix) in [
        (format!("{database}/no_such_database"), "no_such_database", "database's name"),
        (format!("postgres://u:hidden@{nobody}/db"), "refused", "start PostgreSQL"),
        (format!("postgres://u:hidden@{mute}/db"), "no answer within 3s", "firewall"),
        (format!("postgres://u:hidden@{host}/db?sslmode=verify-full"), "could not connect", ""),
        (format!("{}?sslmode=require", world.database_url), "TLS", "sslmode"),
    ] {
        let sick = checkup_with(&world, &[("DATABASE_URL", &url)]);
        sick.has("database.connection", "failed", message, fix);
        sick.has("database", "skipped", "needs a connection", "");
        assert!(!sick.finished.stdout.contains("hidden"), "{:?}", sick.finished);
        sick.has("rabbitmq.connection", "ok", "accepts the login", ""); // the other server is checked all the same
    }
    for (url, message, fix) in [
        (format!("amqp://guest:hidden@{host}/%2f"), "ACCESS_REFUSED", "user and password"),
        (format!("amqp://guest:guest@{host}/nowhere"), "nowhere", "virtual host"),
        (format!("amqp://guest:hidden@{nobody}/%2f"), "refused", "start RabbitMQ"),
        (format!("amqps://guest:hidden@{host}/%2f"), "could not connect", "amqps"),
        (format!("amqp://guest:hidden@{}/%2f", host_of(database)), "does not speak AMQP", "start RabbitMQ"),
        (format!("amqp://guest:hidden@{mute}/%2f"), "no answer in time", "firewall"),
    ] {
        let sick = checkup_with(&world, &[("AMQP_URL", &url)]);
        sick.has("rabbitmq.connection", "failed", message, fix);
        assert!(!sick.finished.stdout.contains("hidden"), "{:?}", sick.finished);
        sick.has("database.connection", "ok", "answers", "");
    }
    let sick = checkup_with(&world, &[("DATABASE_URL", "mysql://secret"), ("AMQP_URL", "")]);
    sick.has("database.url", "failed", "DATABASE_URL", "postgres://USER:PASSWORD@HOST");
    sick.has("rabbitmq.url", "failed", "AMQP_URL", "amqp://USER:PASSWORD@HOST");
    assert!(!sick.finished.stdout.contains("secret"), "{:?}", sick.finished);
}

#[tokio::test]
async fn unencrypted_connection_is_a_warning() {
    let world = World::new().await;
    // A name that leads nowhere: the warning does not wait for an answer.
    let sick = checkup_with(
        &world,
        &[("DATABASE_URL", "postgres://u:p@db.invalid/db"), ("AMQP_URL", "amqp://u:p@mq.invalid/%2f")],
    );
    sick.has("database.tls", "warning", "anyone can impersonate db.invalid", "sslmode=verify-full");
    sick.has("rabbitmq.tls", "warning", "unencrypted", "amqps://");
    sick.has("database.connection", "failed", "db.invalid", "host and port");
    sick.has("rabbitmq.connection", "failed", "mq.invalid", "host and port");
}
