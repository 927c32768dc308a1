use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::usage_error::UsageError;
use crate::broker::{BrokerAddress, QueueWatch, Topology};
use crate::config::{TraceOptions, WorkerOptions};
use crate::http::Server;
use crate::lifecycle::{Ending, Lifecycle};
use crate::monitor::{DatabaseMonitor, QueueMonitor};
use crate::outbox::Relay;
use crate::passes::{CapEviction, Schedule, TtlSweep};
use crate::pipeline::{HOLD_AT_MOST, Pipeline, PipelineOptions};
use crate::policy::PassName;
use crate::storage::Database;
use crate::telemetry::{Health, Metrics, TracedBroker, Traces};
use crate::watchdog;

/// The worker: consumes status messages, sweeps expired snapshots, evicts over the cap, serves HTTP
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    worker: WorkerOptions,
}

/// A batch, two passes, the relay and the monitor at once.
const CONNECTIONS: u32 = 5;

/// For a collector that takes what is left at the end.
const LAST_TRACES_AT_MOST: Duration = Duration::from_secs(2);

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let WorkerOptions { database, broker, messages, passes, http, process } = self.worker;
        let database = Database::new(database.database_url.as_ref(), CONNECTIONS)?;
        let address = BrokerAddress::parse(broker.amqp_url.as_ref())?;
        let topology = Topology::new(broker.exchange, broker.queue, messages.topology);
        let traces = traces(&address, &topology)?;
        let metrics = Metrics::new();
        let health = Health::new(metrics.clone());
        let lifecycle = Lifecycle::new(process.shutdown_timeout);
        let (heartbeats, environment) = (lifecycle.heartbeats(), process.environment);
        let server = Server::bind(http.http_addr, health.clone(), heartbeats, metrics.clone(), environment).await?;
        let http_addr = server.local_address().context("could not read the HTTP server's address")?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %http_addr, broker = address.host(), queue = topology.queue(), "starting");

        lifecycle.spawn_service("http", server.run());
        let options = PipelineOptions {
            address: address.clone(),
            topology: topology.clone(),
            prefetch: messages.prefetch,
            max_message_bytes: messages.max_message_bytes,
            max_attempts: messages.max_attempts,
            hold_at_most: HOLD_AT_MOST,
        };
        let pipeline = Pipeline::new(options, database.clone(), health.clone(), metrics.clone(), traces.clone());
        lifecycle.spawn("pipeline", |stop| pipeline.run(stop));
        for pass in PassName::ALL {
            let rate = passes.rate.per_second();
            let (database, metrics) = (database.clone(), metrics.clone());
            match pass {
                PassName::Ttl => {
                    let interval = passes.sweep_interval;
                    let sweep = Schedule { pass: TtlSweep, interval, rate, database, metrics };
                    lifecycle.spawn("ttl sweep", |stop| sweep.run(stop));
                }
                PassName::Cap => {
                    let interval = passes.evict_interval;
                    let pass = CapEviction { cap: passes.cap.max_snapshots_per_team, team: None };
                    let eviction = Schedule { pass, interval, rate, database, metrics };
                    lifecycle.spawn("cap eviction", |stop| eviction.run(stop));
                }
            }
        }
        let relay = Relay::new(database.clone(), address.clone(), topology.exchange().to_owned(), metrics.clone());
        lifecycle.spawn("outbox relay", |stop| relay.run(stop));
        let monitor = DatabaseMonitor::new(database.clone(), health.clone(), metrics.clone());
        lifecycle.spawn("database monitor", |stop| monitor.run(stop));
        let monitor = QueueMonitor { queues: QueueWatch::new(address), topology, health: health.clone(), metrics };
        lifecycle.spawn("queue monitor", |stop| monitor.run(stop));
        lifecycle.spawn_service("watchdog", watchdog::run(lifecycle.heartbeats(), health, lifecycle.stop()));

        let ending = lifecycle.run_until_stopped().await;
        if ending != Ending::AtOnce {
            database.close().await;
            traces.finish(LAST_TRACES_AT_MOST).await;
        }
        match ending {
            Ending::Asked => {
                tracing::info!("stopped");
                Ok(ExitCode::SUCCESS)
            }
            Ending::AtOnce | Ending::TaskDied => Ok(ExitCode::FAILURE),
        }
    }
}

fn traces(address: &BrokerAddress, topology: &Topology) -> anyhow::Result<Traces> {
    let options = TraceOptions::from_environment().map_err(|error| UsageError(error.to_string()))?;
    let destination = format!("{}:{}", topology.exchange(), topology.queue());
    let (host, port) = address.server();
    let broker = TracedBroker { destination, host: host.to_owned(), port };
    Ok(Traces::start(options, broker).map_err(UsageError)?)
}
