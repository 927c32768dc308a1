//! What a worker finds out about its servers while it has nothing to do.

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, QueueWatch, Topology};
use snapshot_lifecycle::config::TopologyMode;
use snapshot_lifecycle::lifecycle::Stop;
use snapshot_lifecycle::monitor::{DatabaseMonitor, QueueMonitor};
use snapshot_lifecycle::storage::Database;
use snapshot_lifecycle::telemetry::{Dependency, Health, Metrics};

use crate::support::{World, eventually};

#[tokio::test]
async fn broker_that_cannot_be_reached_is_down_whatever_the_database_does() {
    let world = World::new().await;
    for (amqp_url, up) in [(world.servers.amqp_url.as_str(), true), ("amqp://guest:guest@127.0.0.1:1/%2f", false)] {
        let health = Health::new(Metrics::new());
        // As its user left it, who waits for the database now.
        health.set(Dependency::Rabbitmq, true);
        health.set(Dependency::Postgres, true);
        let database = Database::new(Some(&SecretString::from("postgres://nobody@127.0.0.1:1/none")), 1).unwrap();
        let queues = QueueMonitor {
            queues: QueueWatch::new(BrokerAddress::parse(Some(&SecretString::from(amqp_url))).unwrap()),
            topology: Topology::new(world.exchange.clone(), world.queue.clone(), TopologyMode::Verify),
            health: health.clone(),
            metrics: Metrics::new(),
        };
        let stop = Stop::default();
        let database = DatabaseMonitor::new(database, health.clone(), Metrics::new());
        let probing = [tokio::spawn(database.run(stop.clone())), tokio::spawn(queues.run(stop.clone()))];
        eventually("the database to be down", async || !health.is_up(Dependency::Postgres)).await;
        eventually("the broker as it is", async || health.is_up(Dependency::Rabbitmq) == up).await;
        stop.soft.cancel();
        for probe in probing {
            probe.await.unwrap();
        }
        // The next check of the one that answers may not have found it down: its queue is not declared, which is an answer.
        assert_eq!(health.is_up(Dependency::Rabbitmq), up);
    }
}

#[tokio::test]
async fn column_that_is_renamed_under_an_idle_worker_is_noticed_and_so_is_its_return() {
    let world = World::new().await;
    let worker = world.worker().await;
    for column in ["expires_at", "created_at", "snapshot_type"] {
        world.sql(format!("ALTER TABLE public.snapshots RENAME COLUMN {column} TO elsewhere")).await;
        worker.becomes_ready(false).await;
        let told = worker.logged("cannot work on this database");
        let error = told.last().expect("the reason")["error"].as_str().unwrap();
        assert!(error.contains(&format!("column \"{column}\" does not exist")), "{error}");
        world.sql(format!("ALTER TABLE public.snapshots RENAME COLUMN elsewhere TO {column}")).await;
        worker.becomes_ready(true).await;
    }
    assert_eq!(worker.logged("cannot work on this database").len(), 3, "once each: {}", worker.log_text());
    worker.stop().await;
}
