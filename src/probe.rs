//! Looks at both servers from time to time, for readiness and for the gauges, whether or not there is work.

use std::time::Duration;

use tokio::time::sleep;

use crate::broker::{QueueWatch, Topology};
use crate::lifecycle::Stop;
use crate::policy::Rule;
use crate::storage::Database;
use crate::telemetry::{Dependency, Health, Metrics};

/// A database that went away while nothing was to do is noticed after this.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Counting what has expired costs an index scan, so the gauges are looked at once in so many pings.
const PINGS_A_MEASUREMENT: u32 = 5;

/// The looking.
pub struct Probe {
    /// The database.
    pub database: Database,
    /// The broker's queues.
    pub queues: QueueWatch,
    /// Their names.
    pub topology: Topology,
    /// What is up.
    pub health: Health,
    /// The gauges.
    pub metrics: Metrics,
}

impl Probe {
    /// Looks until asked to stop.
    pub async fn run(mut self, stop: Stop) {
        let mut pings = 0;
        loop {
            tokio::select! {
                () = self.look(pings % PINGS_A_MEASUREMENT == 0) => {}
                () = stop.soft.cancelled() => break,
            }
            pings += 1;
            tokio::select! {
                () = sleep(PING_EVERY) => {}
                () = stop.soft.cancelled() => break,
            }
        }
        self.queues.close().await;
    }

    async fn look(&mut self, measure: bool) {
        // One that comes back must be fit to be worked on, not only answer.
        let up = if self.health.is_up(Dependency::Postgres) {
            self.database.ping().await.is_ok()
        } else {
            self.database.check_ready().await.is_ok()
        };
        self.health.set(Dependency::Postgres, up);
        if !measure {
            return;
        }
        if up {
            self.measure_database().await;
        }
        match self.queues.depths(&self.topology).await {
            Ok(depths) => self.metrics.set_queue_messages(depths.queue, depths.dead_letters),
            // Before the first consumer has declared it, or while the broker is away; the gauges keep their last values.
            Err(error) => tracing::debug!(error = error.one_line(), "could not look at the queues"),
        }
    }

    async fn measure_database(&self) {
        match self.database.backlog().await {
            Ok(backlog) => {
                self.metrics.set_expired(backlog.expired, backlog.oldest_expired_seconds);
                for (rule, at) in [(Rule::Ttl, backlog.last_ttl_pass), (Rule::Cap, backlog.last_cap_pass)] {
                    if let Some(at) = at {
                        self.metrics.set_last_pass(rule, at.unix_timestamp() as f64);
                    }
                }
            }
            Err(error) => tracing::warn!(error = error.one_line(), "could not measure the backlog"),
        }
        match self.database.outbox_backlog().await {
            Ok(backlog) => self.metrics.set_outbox(backlog.pending, backlog.oldest_seconds),
            Err(error) => tracing::warn!(error = error.one_line(), "could not measure the outbox"),
        }
    }
}
