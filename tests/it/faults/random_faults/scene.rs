//! Servers, workers and rows of a run: what a round brings, and what must be left after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::fault::Fault;
use super::publisher::publish_until_confirmed;
use crate::support::{Proxy, Random, Servers, Snapshot, Worker, World, body, eventually, host_of};

/// More than the snapshots of the events of a round.
pub(super) const CAP: usize = 130;

const EVENTS: usize = 40;

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) servers: Arc<Servers>,
    /// The least-privileged one, which row-level security binds.
    pub(super) role: String,
    pub(super) to_database: Proxy,
    pub(super) to_broker: Proxy,
    pub(super) workers: Vec<Worker>,
    pub(super) random: Random,
    pub(super) longest: Duration,
    /// The rows that must be left after each round.
    pub(super) rows: BTreeSet<Uuid>,
    /// What must be a dead letter at the end.
    pub(super) dead_letters: BTreeSet<Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) rounds: usize,
    pub(super) messages: usize,
    pub(super) dead_letters: usize,
    pub(super) deleted: usize,
    pub(super) kept: usize,
}

/// What a round brings: messages to publish, and the rows that the rules are to take.
pub(super) struct Load {
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) victims: Vec<Uuid>,
    pub(super) count: Count,
}

impl Scene {
    pub(super) async fn set_up(longest: Duration) -> Self {
        let servers = Servers::own(|_| (Vec::new(), Vec::new()));
        let world = World::on(servers.clone()).await;
        world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
        let installed = world.run(&["outbox", "install"]).await;
        assert_eq!(installed.code, 0, "{installed:?}");
        let role = world.worker_role();
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
            dead_letters: BTreeSet::new(),
        };
        for _ in 0..2 {
            let worker = scene.start_worker().await;
            worker.becomes_ready(true).await;
            scene.workers.push(worker);
        }
        scene
    }

    pub(super) async fn start_worker(&self) -> Worker {
        let cap = CAP.to_string();
        let variables = [
            ("DATABASE_URL", &*self.to_database.url(&self.world.url_as(&self.role))),
            ("AMQP_URL", &*self.to_broker.url(&self.world.servers.amqp_url)),
            ("LIFECYCLE_SWEEP_INTERVAL", "500ms"),
            ("LIFECYCLE_EVICT_INTERVAL", "500ms"),
            ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", &cap),
        ];
        self.world.start_worker(&variables).await
    }

    pub(super) async fn round(&mut self, round: usize, fault: Fault) -> Count {
        let Load { bodies, victims, count } = self.load(round).await;
        let publishing = tokio::spawn(publish_until_confirmed(
            self.world.servers.amqp_url.clone(),
            self.world.exchange.clone(),
            bodies,
        ));
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

    /// Rows that each rule takes and rows that it leaves, and messages of each outcome.
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
            self.dead_letters.insert(unreadable.clone());
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
            dead_letters: 3,
            deleted: victims.len(),
            kept: 2 * EVENTS + CAP,
        };
        Load { bodies, victims, count }
    }

    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.random.below(u64::try_from(longest.as_millis()).unwrap()))
    }

    pub(super) async fn end(self) {
        let Self { world, workers, rows, dead_letters, random, .. } = self;
        for worker in workers {
            worker.stop().await;
        }
        assert_eq!(world.waiting().await, 0, "what was in flight has its outcome, seed {}", random.seed);
        assert_eq!(world.outbox_records().await, 0, "the outbox is published, seed {}", random.seed);
        assert_eq!(world.snapshots().await, rows, "seed {}", random.seed);
        // One whose confirm was lost exists twice, which does no harm.
        assert!(
            world.exported_bodies().await == dead_letters,
            "dead letters that nobody expected, or too few, seed {}",
            random.seed
        );
    }
}
