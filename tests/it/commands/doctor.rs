//! `doctor`: finds each mistake and says how to fix it, accepts a healthy deployment, changes nothing.

use std::net::TcpListener;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::storage::access::{drop_role, url_of, worker_role};
use crate::support::{Finished, Servers, Snapshot, World, as_user, eventually, finish, host_of};

/// What the checks said, in order.
struct Checkup {
    finished: Finished,
    checks: Vec<Value>,
}

impl Checkup {
    fn new(finished: Finished) -> Self {
        let answer = finished.json();
        let checks = answer["checks"].as_array().unwrap().clone();
        let failed = checks.iter().any(|check| check["state"] == "failed");
        assert_eq!(answer["ok"], !failed, "{finished:?}");
        assert_eq!(finished.code, i32::from(failed), "{finished:?}");
        Self { finished, checks }
    }

    /// The check has such a line, with these words in its message and in its fix.
    fn has(&self, check: &str, state: &str, message: &str, fix: &str) {
        let found = self.checks.iter().any(|line| {
            line["check"] == check
                && line["state"] == state
                && line["message"].as_str().unwrap().contains(message)
                && line["fix"].as_str().unwrap_or_default().contains(fix)
        });
        assert!(found, "{check} {state}: {message} -> {fix}\nis not in\n{}", self.finished.stdout);
    }

    fn has_not(&self, check: &str, state: &str, message: &str) {
        let found = |line: &Value| {
            line["check"] == check && line["state"] == state && line["message"].as_str().unwrap().contains(message)
        };
        assert!(!self.checks.iter().any(found), "{check} {state}: {message}\nis in\n{}", self.finished.stdout);
    }

    fn of_state(&self, state: &str) -> Vec<&Value> {
        self.checks.iter().filter(|line| line["state"] == state).collect()
    }
}

async fn checkup(world: &World, arguments: &[&str]) -> Checkup {
    let arguments: Vec<&str> = ["doctor"].iter().chain(arguments).copied().collect();
    Checkup::new(world.run(&arguments).await)
}

fn checkup_with(world: &World, variables: &[(&str, &str)]) -> Checkup {
    let mut command = world.program(&["doctor"]);
    command.envs(variables.iter().copied());
    Checkup::new(finish(command))
}

/// As a deployment is after its first minutes: topology declared, both passes done.
async fn settled(world: &World, variables: &[(&str, &str)]) -> crate::support::Worker {
    let mut all = vec![("LIFECYCLE_SWEEP_INTERVAL", "200ms"), ("LIFECYCLE_EVICT_INTERVAL", "200ms")];
    all.extend(variables);
    let worker = world.worker_with(&all).await;
    worker.reaches("pass_seconds_count{rule=\"ttl\"}", 1.0).await;
    worker.reaches("pass_seconds_count{rule=\"cap\"}", 1.0).await;
    worker
}

#[tokio::test]
async fn healthy_deployment_passes_without_a_warning() {
    let world = World::new().await;
    let role = worker_role(&world).await;
    let url = url_of(&world, &role);
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
    // What the probe sent was taken for what it is, and the letter is forgotten.
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    eventually("the probe's letter to expire", async || world.dead_letters().await == 0).await;
    assert_eq!((world.snapshots().await.len(), worker.metric("messages_total{outcome=\"dead_lettered\"}")), (1, 0.0));
    worker.stop().await;
    drop_role(&world, &role).await;
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
async fn each_mistake_in_the_database_has_its_line_and_its_fix() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    let installed = world.run(&["outbox", "install", "--table", "events", "--status-column", "status"]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    world.worker().await.stop().await;
    let team = world.team().await;
    world.insert(&Snapshot::of(team).expires_at(time::OffsetDateTime::UNIX_EPOCH)).await;
    world
        .sql(
            "DROP INDEX public.idx_snapshots_event;
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.idx_snapshots_team_newest'::regclass;
             CREATE INDEX hosts_own ON public.snapshots (data);
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.hosts_own'::regclass;
             ALTER TABLE public.snapshots SET (autovacuum_enabled = false);
             CREATE TABLE public.favourites (snapshot UUID REFERENCES public.snapshots (id));
             INSERT INTO snapshot_lifecycle.lease (name, holder, expires_at, completed_at)
                 VALUES ('cap', gen_random_uuid(), now(), now() - interval '1 day')
                 ON CONFLICT (name) DO UPDATE SET completed_at = excluded.completed_at;
             INSERT INTO snapshot_lifecycle.outbox (event_id, status, occurred_at)
                 VALUES (gen_random_uuid(), 'lead', now() - interval '1 hour');
             INSERT INTO snapshot_lifecycle.migrations (version, description, checksum) VALUES (29990101000000, 'later', '')",
        )
        .await;
    let sick = checkup(&world, &["--evict-interval", "1m"]).await;
    sick.has("database.schema", "warning", "29990101000000", "upgrade");
    sick.has("database.role", "warning", "row-level security does not apply to it", "worker-role.sql");
    sick.has(
        "database.indexes",
        "failed",
        "no index on (event_id)",
        "CREATE INDEX CONCURRENTLY idx_snapshots_event ON public.snapshots (event_id);",
    );
    let fix = "REINDEX INDEX CONCURRENTLY public.idx_snapshots_team_newest;";
    sick.has("database.indexes", "failed", "idx_snapshots_team_newest is invalid", fix);
    sick.has("database.indexes", "warning", "hosts_own is invalid", "DROP INDEX CONCURRENTLY");
    sick.has("database.autovacuum", "failed", "off for public.snapshots", "RESET (autovacuum_enabled)");
    sick.has("database.references", "warning", "public.favourites", "ON DELETE");
    let fix = "CREATE INDEX CONCURRENTLY ON public.favourites (snapshot);";
    sick.has("database.references", "failed", "public.favourites references snapshots by snapshot", fix);
    sick.has("database.sweep", "failed", "1 expired snapshots", "sweep --yes");
    sick.has("database.evict", "failed", "one is due every 60 s", "start a worker");
    sick.has("database.outbox", "failed", "1 status changes wait", "start a worker");
    sick.has("rabbitmq.consumers", "warning", "no worker consumes", "start a worker");

    // Each fix, as it is printed, works.
    world
        .sql(
            "CREATE INDEX idx_snapshots_event ON public.snapshots (event_id);
             REINDEX INDEX public.idx_snapshots_team_newest; REINDEX INDEX public.hosts_own;
             ALTER TABLE public.snapshots RESET (autovacuum_enabled);
             DROP TABLE public.favourites; DELETE FROM snapshot_lifecycle.outbox;
             ALTER TABLE public.events DISABLE TRIGGER snapshot_lifecycle_outbox_update;
             ALTER TABLE public.snapshots DISABLE ROW LEVEL SECURITY;
             ALTER TABLE public.snapshots DISABLE TRIGGER snapshot_lifecycle_fill_expires_at",
        )
        .await;
    settled(&world, &[]).await.stop().await;
    let better = checkup(&world, &[]).await;
    better.has("database.indexes", "ok", "every statement", "");
    better.has("database.sweep", "ok", "completed", "");
    better.has("database.evict", "ok", "completed", "");
    better.has("database.outbox", "failed", "a trigger on public.events is disabled", "ENABLE TRIGGER");
    better.has("database.isolation", "warning", "row-level security is off", "ENABLE ROW LEVEL SECURITY");
    better.has("database.retention", "failed", "expires_at is missing or disabled", "ENABLE TRIGGER");

    world
        .sql(
            "ALTER TABLE public.events ENABLE TRIGGER snapshot_lifecycle_outbox_update;
             ALTER TABLE public.events RENAME COLUMN status TO state;
             DELETE FROM snapshot_lifecycle.retention WHERE snapshot_type = '*'",
        )
        .await;
    let worse = checkup(&world, &[]).await;
    worse.has("database.outbox", "warning", "renamed or dropped", "outbox install");
    worse.has("database.retention", "failed", "no row for *", "retention set '*'");
    let put_back = world.run(&["retention", "set", "*", "--ttl", "7d", "--keep-after-event", "false", "--yes"]).await;
    assert_eq!(put_back.code, 0, "{put_back:?}");
}

#[tokio::test]
async fn database_that_only_reads_or_was_migrated_otherwise_fails() {
    let world = World::new().await;
    world
        .sql(
            "UPDATE snapshot_lifecycle.migrations SET checksum = '' WHERE version = (SELECT min(version) FROM snapshot_lifecycle.migrations);
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
        )
        .await;
    let sick = checkup(&world, &[]).await;
    sick.has("database.writable", "failed", "default_transaction_read_only", "ALTER DATABASE");
    sick.has("database.schema", "failed", "files with different contents: 20260105120000", "release");
}

#[tokio::test]
async fn role_that_cannot_do_the_job_is_told_what_it_lacks() {
    let world = World::new().await;
    let role = worker_role(&world).await;
    world
        .sql(format!(
            "DROP POLICY {role}_delete ON public.snapshots; REVOKE SELECT ON snapshot_lifecycle.retention FROM {role}; \
             REVOKE SELECT ON snapshot_lifecycle.outbox FROM {role}"
        ))
        .await;
    let sick = checkup_with(&world, &[("DATABASE_URL", &url_of(&world, &role))]);
    sick.has("database.role", "failed", "row-level security hides rows from its DELETE", "worker-role.sql");
    sick.has("database.role", "failed", "it lacks SELECT on snapshot_lifecycle.retention", "worker-role.sql");
    sick.has("database.outbox", "skipped", "may not read", "");
    world.sql(format!("REVOKE USAGE ON SCHEMA snapshot_lifecycle FROM {role}")).await;
    let sicker = checkup_with(&world, &[("DATABASE_URL", &url_of(&world, &role))]);
    sicker.has("database.schema", "failed", "permission denied", "worker-role.sql");
    world.sql(format!("ALTER TABLE public.snapshots OWNER TO {role}; GRANT ALL ON SCHEMA snapshot_lifecycle TO {role}; GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA snapshot_lifecycle TO {role}")).await;
    let owner = checkup_with(&world, &[("DATABASE_URL", &url_of(&world, &role))]);
    owner.has("database.role", "warning", "does not apply to it", "worker-role.sql");
    world.sql("ALTER TABLE public.snapshots OWNER TO CURRENT_USER").await;
    drop_role(&world, &role).await;
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
        (format!("{database}/not_there"), "not_there", "database's name"),
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
async fn table_that_is_not_deleted_from_as_a_whole_fails() {
    let world = World::new().await;
    checkup(&world, &[]).await.has("database.table", "ok", "an ordinary table", "");
    world
        .sql(
            "CREATE TABLE public.archived () INHERITS (public.snapshots);
             ALTER TABLE public.snapshots DROP CONSTRAINT snapshots_pkey, ADD PRIMARY KEY (team_id, id);
             ALTER TABLE public.snapshots REPLICA IDENTITY NOTHING;
             CREATE PUBLICATION p FOR TABLE public.snapshots",
        )
        .await;
    let sick = checkup(&world, &[]).await;
    sick.has("database.table", "failed", "public.archived inherits", "NO INHERIT public.snapshots");
    sick.has("database.table", "failed", "id alone is not unique", "CREATE UNIQUE INDEX CONCURRENTLY");
    sick.has("database.table", "failed", "without a replica identity", "REPLICA IDENTITY DEFAULT");
    sick.has("database.connection", "ok", world.database_url.rsplit('/').next().unwrap(), "");
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
        let letter = channel.basic_publish(
            format!("{queue}.dlx").into(),
            "".into(),
            Default::default(),
            b"{}",
            lapin::BasicProperties::default(),
        );
        letter.await.unwrap().await.unwrap();
    }
    // Without --probe nothing is sent, so nothing of it can be seen but the letters.
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
    // All but the exchanges, which are not there yet.
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

#[tokio::test]
async fn pooler_is_recognised() {
    let servers = Servers::private();
    let pair = servers.pair();
    let mut world = World::on(pair.clone()).await;
    let database = world.database_url.rsplit('/').next().unwrap().to_owned();
    for (mode, message) in [("session", "a pooler in session mode"), ("transaction", "a pooler in transaction mode")] {
        let pooler = pair.pooler(mode);
        world.database_url = format!("{}/{database}", pooler.rsplit_once('/').unwrap().0);
        let seen = checkup(&world, &[]).await;
        seen.has("database.pooler", "ok", message, "");
        seen.has("database.role", "warning", "does not apply", "");
    }
    world.database_url = format!("{}/{database}", pair.pooler("statement").rsplit_once('/').unwrap().0);
    let refused = checkup(&world, &[]).await;
    refused.has("database.connection", "failed", "statement pooling", "pool_mode = transaction");
}
