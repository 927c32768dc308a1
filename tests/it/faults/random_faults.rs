//! Random faults, one after another, while messages come in by every way and the passes run. After each: exactly the rows that the
//! rules leave; at the end: exactly the letters that can never succeed, and nothing under way.
//!
//! `FAULTS_MINUTES=60` runs for so long, and with `--nocapture` says at the end how often each fault was tried and what was counted.
//! `FAULTS_ONLY=Row` tries only those whose name begins so; `FAULTS_SEED` takes the choices of a run that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::storage::access::{url_of, worker_role};
use crate::support::{
    Obstacle, Policy, Proxy, Random, SQLSTATES, Servers, Snapshot, Way, Worker, World, body, eventually, host_of, pause,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    WorkerKilled,
    WorkerFrozen,
    ReplayKilled,
    DatabaseStopped,
    DatabaseKilled,
    BackendsTerminated,
    DatabaseOnlyReads,
    TableLocked,
    RowsLocked,
    BrokerStopped,
    BrokerKilled,
    ConnectionsClosed,
    MemoryAlarm,
    DiskAlarm,
    /// A COMMIT waits for a standby that is away.
    StandbyLost,
    RowsHidden(Policy),
    RowRaises,
    RowReferenced,
    HostileMessages,
    WayToDatabase(Broken),
    WayToBroker(Broken),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Broken {
    Cut,
    Stalled,
    Slow,
}

const FAULTS: [Fault; 28] = [
    Fault::WorkerKilled,
    Fault::WorkerFrozen,
    Fault::ReplayKilled,
    Fault::DatabaseStopped,
    Fault::DatabaseKilled,
    Fault::BackendsTerminated,
    Fault::DatabaseOnlyReads,
    Fault::TableLocked,
    Fault::RowsLocked,
    Fault::BrokerStopped,
    Fault::BrokerKilled,
    Fault::ConnectionsClosed,
    Fault::MemoryAlarm,
    Fault::DiskAlarm,
    Fault::StandbyLost,
    Fault::RowsHidden(Policy::SelectNothing),
    Fault::RowsHidden(Policy::DeleteNothing),
    Fault::RowsHidden(Policy::LockNothing),
    Fault::RowsHidden(Policy::Half),
    Fault::RowRaises,
    Fault::RowReferenced,
    Fault::HostileMessages,
    Fault::WayToDatabase(Broken::Cut),
    Fault::WayToDatabase(Broken::Stalled),
    Fault::WayToDatabase(Broken::Slow),
    Fault::WayToBroker(Broken::Cut),
    Fault::WayToBroker(Broken::Stalled),
    Fault::WayToBroker(Broken::Slow),
];

/// Rounds of a run of the whole suite.
const ROUNDS: usize = 6;
/// A fault may last longer than a broken way takes to be noticed, where there is time.
const LONGEST: Duration = Duration::from_secs(5);
const LONGEST_OF_A_LONG_RUN: Duration = Duration::from_secs(25);
/// More than the snapshots of the events of a round.
const CAP: usize = 130;
const EVENTS: usize = 40;
/// Of two workers; each has a pool of five, and a few beside it.
const CONNECTIONS_AT_MOST: i64 = 20;
/// So that the fault comes in the middle.
const BETWEEN_MESSAGES: Duration = Duration::from_millis(15);

struct Scene {
    world: World,
    servers: Arc<Servers>,
    /// The least-privileged one, which row-level security binds.
    role: String,
    to_database: Proxy,
    to_broker: Proxy,
    workers: Vec<Worker>,
    random: Random,
    longest: Duration,
    /// What must be there after each round.
    rows: BTreeSet<Uuid>,
    /// What must be a dead letter at the end.
    letters: BTreeSet<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Count {
    rounds: usize,
    messages: usize,
    letters: usize,
    deleted: usize,
    kept: usize,
}

/// What a round brings: messages to publish, and the rows that the rules are to take.
struct Load {
    bodies: Vec<Vec<u8>>,
    victims: Vec<Uuid>,
    count: Count,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a long run says what it counted")]
async fn random_faults_lose_nothing_and_delete_nothing_too_much() {
    let minutes = std::env::var("FAULTS_MINUTES").ok().map(|minutes| minutes.parse::<u64>().expect("whole minutes"));
    let until = minutes.map(|minutes| Instant::now() + Duration::from_mins(minutes));
    let mut scene = Scene::set_up(if minutes.is_some() { LONGEST_OF_A_LONG_RUN } else { LONGEST }).await;
    let seed = scene.random.seed;
    eprintln!("seed {seed}");
    let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let faults: Vec<_> = FAULTS.into_iter().filter(|fault| format!("{fault:?}").starts_with(&only)).collect();
    let mut counts: BTreeMap<Fault, Count> = faults.iter().map(|fault| (*fault, Count::default())).collect();
    for round in 0.. {
        if until.map_or(round == ROUNDS, |until| Instant::now() > until) {
            break;
        }
        let fault = faults[scene.random.index(faults.len())];
        eprintln!("round {round}: {fault:?}");
        let count = scene.round(round, fault).await;
        let all = counts.entry(fault).or_default();
        all.rounds += 1;
        all.messages += count.messages;
        all.letters += count.letters;
        all.deleted += count.deleted;
        all.kept += count.kept;
    }
    scene.end().await;
    for (fault, count) in counts {
        eprintln!("{fault:?}: {count:?}");
    }
}

impl Scene {
    async fn set_up(longest: Duration) -> Self {
        let servers = Servers::own(|_| (Vec::new(), Vec::new()));
        let world = World::on(servers.clone()).await;
        world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
        let installed = world.run(&["outbox", "install"]).await;
        assert_eq!(installed.code, 0, "{installed:?}");
        let role = worker_role(&world).await;
        world.sql("ALTER TABLE public.snapshots ENABLE ROW LEVEL SECURITY").await;
        let to_database = Proxy::before(host_of(&world.database_url)).await;
        let to_broker = Proxy::before(host_of(&world.servers.amqp_url)).await;
        let mut scene = Self {
            world,
            servers,
            role,
            to_database,
            to_broker,
            workers: Vec::new(),
            random: Random::new(),
            longest,
            rows: BTreeSet::new(),
            letters: BTreeSet::new(),
        };
        for _ in 0..2 {
            let worker = scene.start_worker().await;
            worker.becomes_ready(true).await;
            scene.workers.push(worker);
        }
        scene
    }

    async fn start_worker(&self) -> Worker {
        let cap = CAP.to_string();
        let variables = [
            ("DATABASE_URL", &*self.to_database.url(&url_of(&self.world, &self.role))),
            ("AMQP_URL", &*self.to_broker.url(&self.world.servers.amqp_url)),
            ("LIFECYCLE_SWEEP_INTERVAL", "500ms"),
            ("LIFECYCLE_EVICT_INTERVAL", "500ms"),
            ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", &cap),
        ];
        self.world.start_worker(&variables).await
    }

    async fn round(&mut self, round: usize, fault: Fault) -> Count {
        let Load { bodies, victims, count } = self.load(round).await;
        let publishing =
            tokio::spawn(publish_for_certain(self.world.servers.amqp_url.clone(), self.world.exchange.clone(), bodies));
        tokio::time::sleep(self.up_to(Duration::from_millis(500))).await;
        self.inflict(fault, round, &victims).await;
        publishing.await.unwrap();
        let Self { world, rows, random, .. } = &*self;
        // First by number, which costs little; then to the last row.
        let expected = i64::try_from(rows.len()).unwrap();
        eventually(&format!("{expected} rows after {fault:?} in round {round}, seed {}", random.seed), async || {
            world.count("true").await == expected && world.waiting().await == 0
        })
        .await;
        assert_eq!(world.snapshots().await, *rows, "after {fault:?} in round {round}, seed {}", random.seed);
        for worker in &self.workers {
            worker.becomes_ready(true).await;
        }
        count
    }

    /// Rows that each rule takes and rows that it leaves, and messages of each fate.
    async fn load(&mut self, round: usize) -> Load {
        let world = &self.world;
        let now = OffsetDateTime::now_utc();
        let team = world.team().await;
        let (mut bodies, mut victims, mut through_outbox) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..EVENTS {
            let event = world.event().await;
            victims.push(world.insert(&Snapshot::of(team).event(event)).await);
            self.rows.insert(world.insert(&Snapshot::of(team).event(event).kind("qna")).await);
            self.rows
                .insert(world.insert(&Snapshot::of(team).event(event).created_at(now + time::Duration::HOUR)).await);
            match n % 3 {
                0 => through_outbox.push(event),
                1 => bodies.push(body(event, "confirmed", now)),
                _ => bodies.extend(vec![body(event, "cancelled", now); 2]),
            }
        }
        for _ in 0..3 {
            victims.push(world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await);
            bodies.push(body(world.event().await, "lead", now));
            let unreadable = format!("not json {round} {}", bodies.len()).into_bytes();
            self.letters.insert(unreadable.clone());
            bodies.push(unreadable);
        }
        let all = world.insert_many(world.team().await, i32::try_from(CAP + 4).unwrap()).await;
        victims.extend(&all[..4]);
        self.rows.extend(&all[4..]);
        let events: Vec<_> = through_outbox.iter().map(|event| format!("'{event}'")).collect();
        world.sql(format!("UPDATE public.events SET status = 'Confirmed' WHERE id IN ({})", events.join(", "))).await;
        let count = Count {
            rounds: 1,
            messages: bodies.len() + through_outbox.len(),
            letters: 3,
            deleted: victims.len(),
            kept: 2 * EVENTS + CAP,
        };
        Load { bodies, victims, count }
    }

    /// Breaks something, and mends it after a while.
    #[expect(clippy::too_many_lines, reason = "one fault after the other")]
    async fn inflict(&mut self, fault: Fault, round: usize, victims: &[Uuid]) {
        let a_while = self.up_to(self.longest);
        let a_moment = self.up_to(Duration::from_secs(3));
        let which = self.random.index(self.workers.len());
        match fault {
            Fault::WorkerKilled => {
                self.workers.swap_remove(which).kill();
                let next = self.start_worker().await;
                self.workers.push(next);
            }
            Fault::WorkerFrozen => {
                self.workers[which].signal("STOP");
                tokio::time::sleep(a_while).await;
                self.workers[which].signal("CONT");
            }
            Fault::ReplayKilled => {
                let most = u32::MAX.to_string();
                let mut replay = self.world.program(&["dlq", "replay", "--max-replays", &most, "--yes"]);
                let mut replay = replay.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                tokio::time::sleep(self.up_to(Duration::from_millis(300))).await;
                replay.kill().ok();
                replay.wait().unwrap();
            }
            Fault::DatabaseStopped => {
                self.servers.control(&["postgres", "stop", "immediate"]);
                tokio::time::sleep(a_moment).await;
                self.servers.control(&["postgres", "start"]);
            }
            Fault::DatabaseKilled => {
                self.servers.control(&["postgres", "kill"]);
                tokio::time::sleep(a_moment).await;
                self.servers.control(&["postgres", "start"]);
            }
            Fault::BackendsTerminated => {
                for _ in 0..5 {
                    self.world.terminate_backends().await;
                    pause().await;
                }
            }
            Fault::DatabaseOnlyReads => {
                self.only_reads("SET default_transaction_read_only = on").await;
                self.world.terminate_backends().await;
                tokio::time::sleep(a_moment).await;
                self.only_reads("RESET default_transaction_read_only").await;
            }
            Fault::TableLocked => {
                let mut lock = self.world.pool.begin().await.unwrap();
                sqlx::query("LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut *lock).await.unwrap();
                tokio::time::sleep(a_moment).await;
                lock.rollback().await.unwrap();
            }
            Fault::RowsLocked => {
                let mut lock = self.world.pool.begin().await.unwrap();
                let rows = sqlx::query("SELECT FROM public.snapshots WHERE id = ANY ($1) FOR UPDATE").bind(victims);
                rows.execute(&mut *lock).await.unwrap();
                tokio::time::sleep(a_moment).await;
                lock.rollback().await.unwrap();
            }
            Fault::BrokerStopped => {
                self.servers.control(&["rabbitmq", "stop"]);
                tokio::time::sleep(a_moment).await;
                self.servers.control(&["rabbitmq", "start"]);
            }
            Fault::BrokerKilled => {
                self.servers.control(&["rabbitmq", "kill"]);
                tokio::time::sleep(a_moment).await;
                self.servers.control(&["rabbitmq", "start"]);
            }
            Fault::ConnectionsClosed => {
                self.servers.control(&["rabbitmq", "ctl", "close_all_connections", "by an operator"]);
            }
            Fault::MemoryAlarm => {
                self.servers.control(&["rabbitmq", "ctl", "set_vm_memory_high_watermark", "0.000001"]);
                tokio::time::sleep(a_while).await;
                self.servers.control(&["rabbitmq", "ctl", "set_vm_memory_high_watermark", "0.4"]);
            }
            Fault::DiskAlarm => {
                self.servers.control(&["rabbitmq", "ctl", "set_disk_free_limit", "1000000GB"]);
                tokio::time::sleep(a_while).await;
                self.servers.control(&["rabbitmq", "ctl", "set_disk_free_limit", "1MB"]);
            }
            Fault::StandbyLost => {
                self.standby("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
                tokio::time::sleep(a_while).await;
                let connections = self.connections_of_workers().await;
                self.standby("ALTER SYSTEM RESET synchronous_standby_names").await;
                assert!(connections <= CONNECTIONS_AT_MOST, "{connections} connections, seed {}", self.random.seed);
            }
            Fault::RowsHidden(policy) => {
                self.world.hide_rows(&self.role, policy).await;
                tokio::time::sleep(a_moment).await;
                self.world.show_rows(&self.role).await;
            }
            Fault::RowRaises | Fault::RowReferenced => {
                let row = victims[self.random.index(victims.len())];
                let sqlstate = SQLSTATES[self.random.index(SQLSTATES.len())];
                let raises = fault == Fault::RowRaises;
                self.world.obstruct(row, if raises { Obstacle::Raises(sqlstate) } else { Obstacle::Referenced }).await;
                tokio::time::sleep(a_moment).await;
                self.world.clear_obstacles().await;
            }
            Fault::HostileMessages => {
                let mut bodies = Vec::new();
                for n in 0..5 {
                    let unreadable = format!("not json, hostile {round} {n}").into_bytes();
                    self.letters.insert(unreadable.clone());
                    bodies.push(unreadable);
                    bodies.push(body(self.world.event().await, "lead", OffsetDateTime::now_utc()));
                }
                self.world.publish_hostile(&bodies, &mut self.random).await;
            }
            Fault::WayToDatabase(broken) => break_way(&self.to_database, broken, a_while).await,
            Fault::WayToBroker(broken) => break_way(&self.to_broker, broken, a_while).await,
        }
    }

    /// What this session commits itself waits for nobody.
    async fn standby(&self, setting: &'static str) {
        let mut session = self.world.pool.acquire().await.unwrap();
        for sql in ["SET synchronous_commit = local", setting, "SELECT pg_reload_conf()", "RESET synchronous_commit"] {
            sqlx::query(sql).execute(&mut *session).await.unwrap();
        }
    }

    async fn connections_of_workers(&self) -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usename = $1").bind(&self.role);
        count.fetch_one(&self.world.pool).await.unwrap()
    }

    /// A session that began meanwhile only reads, too.
    async fn only_reads(&self, setting: &str) {
        self.world
            .sql(format!(
                "BEGIN READ WRITE; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {setting}', current_database()); END $$; COMMIT"
            ))
            .await;
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.random.below(u64::try_from(longest.as_millis()).unwrap()))
    }

    async fn end(self) {
        let Self { world, workers, rows, letters, random, .. } = self;
        for worker in workers {
            worker.stop().await;
        }
        assert_eq!(world.waiting().await, 0, "what was in hand has its fate, seed {}", random.seed);
        let pending: i64 =
            sqlx::query_scalar("SELECT count(*) FROM snapshot_lifecycle.outbox").fetch_one(&world.pool).await.unwrap();
        assert_eq!(pending, 0, "the outbox is published, seed {}", random.seed);
        assert_eq!(world.snapshots().await, rows, "seed {}", random.seed);
        // One whose confirm was lost is there twice, which does no harm.
        assert!(
            world.exported_bodies().await == letters,
            "dead letters that nobody expected, or too few, seed {}",
            random.seed
        );
    }
}

async fn break_way(way: &Proxy, broken: Broken, for_a_while: Duration) {
    way.set(match broken {
        Broken::Cut => Way::Cut,
        Broken::Stalled => Way::Stalled,
        Broken::Slow => Way::Slow,
    });
    tokio::time::sleep(for_a_while).await;
    way.set(Way::Open);
}

/// As a careful backend does: what is not confirmed is published again, so that it may be there twice.
async fn publish_for_certain(url: String, exchange: String, mut bodies: Vec<Vec<u8>>) {
    let began = Instant::now();
    while !bodies.is_empty() {
        assert!(began.elapsed() < Duration::from_mins(3), "the broker takes nothing");
        if publish_first(&url, &exchange, &mut bodies).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Publishes from the last to the first, and removes what is confirmed.
async fn publish_first(url: &str, exchange: &str, bodies: &mut Vec<Vec<u8>>) -> Result<(), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    while let Some(body) = bodies.last() {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let key = "event.status.confirmed".into();
        let confirm = channel.basic_publish(exchange.into(), key, options, body, properties).await?;
        let confirmation = confirm.await?;
        if confirmation.is_ack() && confirmation.take_message().is_none() {
            bodies.pop();
        }
        tokio::time::sleep(BETWEEN_MESSAGES).await;
    }
    connection.close(200, "done".into()).await.ok();
    Ok(())
}
