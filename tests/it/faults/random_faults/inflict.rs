//! Making each fault, and ending it after a while.

use std::process::Stdio;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::fault::Fault;
use super::scene::Scene;
use crate::support::{Network, Obstacle, Proxy, SQLSTATES, body, pause};

/// Of two workers; each has a pool of five, and a few beside it.
const CONNECTIONS_AT_MOST: i64 = 20;

impl Scene {
    /// Breaks something, and repairs it after a while.
    #[expect(clippy::too_many_lines, reason = "one fault after the other")]
    pub(super) async fn inflict(&mut self, fault: Fault, round: usize, victims: &[Uuid]) {
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
                self.world.wait_for_standbys("nobody").await;
                tokio::time::sleep(a_while).await;
                let connections = self.connections_of_workers().await;
                self.world.wait_for_standbys("").await;
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
                    self.dead_letters.insert(unreadable.clone());
                    bodies.push(unreadable);
                    bodies.push(body(self.world.event().await, "lead", OffsetDateTime::now_utc()));
                }
                self.world.publish_hostile(&bodies, &mut self.random).await;
            }
            Fault::DatabaseNetwork(broken) => break_network(&self.to_database, broken, a_while).await,
            Fault::BrokerNetwork(broken) => break_network(&self.to_broker, broken, a_while).await,
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
}

async fn break_network(proxy: &Proxy, broken: Network, for_a_while: Duration) {
    proxy.set(broken);
    tokio::time::sleep(for_a_while).await;
    proxy.set(Network::Open);
}
