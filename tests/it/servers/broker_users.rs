//! RabbitMQ's users: each kind, as deploy/rabbitmq/users makes it, has the permissions that deploy/operating.md gives it, which are enough, and
//! no more.

use std::fs::File;
use std::process::Command;

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Finished, PrivateServers, Servers, Snapshot, TempFile, World, as_user, body, finish};

/// Configure, write and read, as the table of deploy/operating.md has them.
fn permissions(kind: &str, world: &World) -> [String; 3] {
    let page = include_str!("../../../deploy/operating.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| {kind} | `^"))).expect("a row of the table");
    let cells: Vec<_> = row.split(" | ").skip(1).map(|cell| cell.trim_matches([' ', '|', '`'])).collect();
    let regex_of = |name: &str| name.replace('.', "\\.");
    let named = |cell: &str| {
        // In a table of Markdown a bar is written with a backslash.
        let cell =
            cell.replace("\\|", "|").replace("event\\.status", "EXCHANGE").replace("snapshot-lifecycle", "QUEUE");
        cell.replace("EXCHANGE", &regex_of(&world.exchange)).replace("QUEUE", &regex_of(&world.queue))
    };
    [named(cells[0]), named(cells[1]), named(cells[2])]
}

/// By the script that deploys.
fn make_user(servers: &PrivateServers, world: &World, kind: &str, name: &str, password: &str) {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rabbitmq/users"));
    script.args([kind, name]).env("RABBITMQCTL", servers.rabbitmqctl());
    script.env("LIFECYCLE_EXCHANGE", &world.exchange).env("LIFECYCLE_QUEUE", &world.queue);
    let file = TempFile::new(format!("{password}\n"));
    let done = finish({
        script.stdin(File::open(file.path()).unwrap());
        script
    });
    assert_eq!(done.code, 0, "{done:?}");
}

struct User<'a> {
    servers: &'a PrivateServers,
    name: String,
    url: String,
}

impl<'a> User<'a> {
    fn new(servers: &'a PrivateServers, world: &World, kind: &str) -> Self {
        let argument = match kind {
            "worker, `declare`" => "declare",
            "worker, `verify`" => "verify",
            "worker, `verify`, with the outbox" => "verify-outbox",
            other => other,
        };
        let name = format!("{argument}-{}", Uuid::new_v4().simple());
        make_user(servers, world, argument, &name, "secret");
        let made = servers.control(&["rabbitmq", "ctl", "--quiet", "list_user_permissions", &name]);
        let [configure, write, read] = permissions(kind, world);
        assert!(made.ends_with(&format!("\n/\t{configure}\t{write}\t{read}")), "{kind}: {made}");
        let url = as_user(&servers.pair().amqp_url, &name, "secret");
        Self { servers, name, url }
    }

    fn run(&self, world: &World, command: &[&str]) -> Finished {
        let mut program = world.program(command);
        program.env("AMQP_URL", &self.url);
        finish(program)
    }

    async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    async fn may_publish(&self, exchange: &str) -> bool {
        let (_connection, channel) = self.channel().await;
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish(exchange.into(), "nobody".into(), options, b"", BasicProperties::default()).await;
        match sent {
            Ok(confirm) => confirm.await.is_ok(),
            Err(_) => false,
        }
    }

    async fn may_read(&self, queue: &str) -> bool {
        let (_connection, channel) = self.channel().await;
        channel.basic_get(queue.into(), BasicGetOptions::default()).await.is_ok()
    }

    async fn may_declare(&self, queue: &str) -> bool {
        let (_connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        channel.queue_declare(queue.into(), options, FieldTable::default()).await.is_ok()
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.servers.control(&["rabbitmq", "ctl", "delete_user", &self.name]);
        }
    }
}

#[tokio::test]
async fn each_user_can_do_its_work_and_nothing_else() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let (exchange, queue) = (world.exchange.clone(), world.queue.clone());
    let dead_letters = format!("{queue}.dead-letter");

    let declaring = User::new(&servers, &world, "worker, `declare`");
    world.worker_with(&[("AMQP_URL", &declaring.url)]).await.stop().await;
    assert!(!declaring.may_declare("something-else").await && !declaring.may_publish("amq.direct").await);

    let worker = User::new(&servers, &world, "worker, `verify`");
    let publisher = User::new(&servers, &world, "publisher");
    let operator = User::new(&servers, &world, "operator");
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let variables = [("AMQP_URL", worker.url.as_str()), ("LIFECYCLE_TOPOLOGY", "verify")];
    let running = world.worker_with(&variables).await;
    let doctor = finish({
        let mut program = world.program(&["doctor"]);
        program.envs(variables);
        program
    });
    assert_eq!(doctor.code, 0, "{doctor:?}");

    let id = event.to_string();
    let confirmed = publisher.run(&world, &["publish", "--event-id", &id, "--status", "confirmed"]);
    assert_eq!(confirmed.code, 0, "{confirmed:?}");
    running.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    world.refuse_deletes().await;
    let stubborn = world.event().await;
    world.insert(&Snapshot::of(team).event(stubborn)).await;
    world.publish_raw(&[b"not json".to_vec(), body(stubborn, "confirmed", OffsetDateTime::now_utc())]).await;
    running.reaches("messages_total{outcome=\"dead_lettered\"}", 1.0).await;
    running.reaches("messages_total{outcome=\"retried\"}", 1.0).await;

    for command in [
        &["dlq", "list"][..],
        &["dlq", "stats"],
        &["dlq", "show"],
        &["dlq", "export"],
        &["dlq", "replay"],
        &["dlq", "replay", "--stop-on-failures", "99%", "--max-replays", "1", "--yes"],
    ] {
        let done = operator.run(&world, command);
        assert!(done.code == 0 || done.stderr.contains("stop-on-failures"), "{command:?}: {done:?}");
        assert!(
            !done.stderr.contains("ACCESS_REFUSED") && !done.stderr.contains("no permission"),
            "{command:?}: {done:?}"
        );
    }
    running.reaches("messages_total{outcome=\"dead_lettered\"}", 2.0).await;
    let marked = operator.run(&world, &["dlq", "replay", "--max-replays", "1", "--yes"]);
    assert_eq!((marked.code, &marked.json()["replayed_too_often"]), (0, &1.into()), "{marked:?}");
    let purged = operator.run(&world, &["dlq", "purge", "--all", "--yes"]);
    assert_eq!((purged.code, &purged.json()["purged"]), (0, &1.into()), "{purged:?}");
    running.stop().await;

    assert!(!worker.may_publish(&exchange).await, "the worker publishes no status unless the outbox is used");
    assert!(!worker.may_read(&dead_letters).await && !worker.may_declare("something-else").await);
    assert!(!worker.may_publish("amq.direct").await && !worker.may_publish("").await);
    assert!(!publisher.may_read(&queue).await && !publisher.may_read(&dead_letters).await);
    assert!(!publisher.may_publish(&format!("{queue}.dlx")).await && !publisher.may_publish("").await);
    assert!(!publisher.may_declare("something-else").await);
    assert!(!operator.may_declare("something-else").await && !operator.may_publish("").await);
    assert!(!operator.may_read(&format!("{queue}.wait.1m")).await);
}

#[tokio::test]
async fn worker_that_verifies_may_publish_statuses_where_the_outbox_is_used() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let worker = User::new(&servers, &world, "worker, `verify`, with the outbox");
    assert!(worker.may_publish(&world.exchange).await && !worker.may_publish("amq.direct").await);
    world.worker_with(&[("AMQP_URL", &worker.url), ("LIFECYCLE_TOPOLOGY", "verify")]).await.stop().await;
}

#[tokio::test]
async fn user_who_exists_keeps_the_password_and_gets_the_permissions() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let user = User::new(&servers, &world, "worker, `declare`");
    make_user(&servers, &world, "publisher", &user.name, "another");
    let [configure, write, read] = permissions("publisher", &world);
    let made = servers.control(&["rabbitmq", "ctl", "--quiet", "list_user_permissions", &user.name]);
    assert!(made.ends_with(&format!("\n/\t{configure}\t{write}\t{read}")), "{made}");
    user.channel().await.0.close(200, "done".into()).await.unwrap();
}
