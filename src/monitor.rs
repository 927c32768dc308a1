//! Polls both servers for readiness and for the gauges, whether or not there is work. Each server for itself: while one does not answer,
//! the other is still polled.

use std::time::Duration;

use crate::broker::{BrokerError, QueueWatch, Topology};
use crate::lifecycle::Stop;
use crate::policy::PassName;
use crate::storage::{AccessError, Database, StorageError, Verdict, pause_of};
use crate::telemetry::{Dependency, Health, Metrics};

/// A database that becomes unavailable while there is nothing to do, and an operator's pause, are noticed after this time.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The gauges are set once in this many pings: counting what has expired costs an index scan.
const PINGS_PER_MEASUREMENT: u32 = 5;

/// Polls the database.
pub struct DatabaseMonitor {
    database: Database,
    health: Health,
    metrics: Metrics,
    /// Why the database cannot be worked on, as last logged.
    logged: Option<String>,
}

impl DatabaseMonitor {
    /// Has not polled yet.
    #[must_use]
    pub fn new(database: Database, health: Health, metrics: Metrics) -> Self {
        Self { database, health, metrics, logged: None }
    }

    /// Polls until asked to stop.
    pub async fn run(mut self, stop: Stop) {
        tokio::select! {
            () = self.watch(&stop) => {}
            () = stop.soft.cancelled() => {}
        }
    }

    async fn watch(&mut self, stop: &Stop) {
        loop {
            for ping in 0..PINGS_PER_MEASUREMENT {
                let measure = ping == 0;
                let up = self.is_up(measure).await;
                self.health.set(Dependency::Postgres, up);
                if up && measure {
                    self.measure().await;
                }
                stop.sleep(PING_EVERY).await;
            }
        }
    }

    async fn is_up(&mut self, measure: bool) -> bool {
        let checked = if !self.health.is_up(Dependency::Postgres) {
            // After an outage it must let the worker do its job, not only answer.
            self.database.access_check_with_delete().await
        } else if measure {
            // An idle worker, too, must notice that rows are hidden from it: they look like no rows.
            self.database.access_check().await
        } else {
            Ok(())
        };
        // Also the ping.
        let checked = match checked {
            Ok(()) => self.read_pause().await.map_err(AccessError::Storage),
            Err(error) => Err(error),
        };
        match &checked {
            Ok(()) if measure => self.logged = None,
            Ok(()) => {}
            // Unavailable, busy or locked, which others log.
            Err(AccessError::Storage(error)) if error.verdict() != Verdict::Refused => {}
            Err(AccessError::Storage(error)) => self.log_once(error.one_line()),
            Err(error) => self.log_once(error.to_string()),
        }
        checked.is_ok()
    }

    /// What an operator has paused; how the pipeline learns of it.
    async fn read_pause(&self) -> Result<(), StorageError> {
        let list = self.database.pause_list().await?;
        self.health.set_paused(|activity| pause_of(&list, activity));
        Ok(())
    }

    /// Once, until it changes.
    fn log_once(&mut self, problem: String) {
        if self.logged.as_ref() != Some(&problem) {
            tracing::error!(error = problem, "cannot work on this database");
            self.logged = Some(problem);
        }
    }

    async fn measure(&self) {
        match self.database.backlog().await {
            Ok(backlog) => {
                self.metrics.expired_snapshots.set(backlog.expired as f64);
                self.metrics.oldest_expired_seconds.set(backlog.oldest_expired.as_secs_f64());
                for pass in PassName::ALL {
                    if let Some(at) = backlog.last_pass(pass) {
                        self.metrics.last_pass.set_for(pass, at.unix_timestamp() as f64);
                    }
                }
            }
            Err(error) => tracing::warn!(error = error.one_line(), "could not measure the backlog"),
        }
        match self.database.outbox_backlog().await {
            Ok(backlog) => {
                self.metrics.outbox_pending.set(backlog.pending as f64);
                self.metrics.outbox_oldest_seconds.set(backlog.oldest.as_secs() as f64);
            }
            Err(error) => tracing::warn!(error = error.one_line(), "could not measure the outbox"),
        }
    }
}

/// Polls the broker's queues.
pub struct QueueMonitor {
    /// Reads them.
    pub queues: QueueWatch,
    /// Their names.
    pub topology: Topology,
    /// What is reachable.
    pub health: Health,
    /// The gauges.
    pub metrics: Metrics,
}

impl QueueMonitor {
    /// Polls until asked to stop.
    pub async fn run(mut self, stop: Stop) {
        while !stop.soft.is_cancelled() {
            tokio::select! {
                () = self.poll() => {}
                () = stop.soft.cancelled() => break,
            }
            stop.sleep(PING_EVERY * PINGS_PER_MEASUREMENT).await;
        }
        self.queues.close().await;
    }

    async fn poll(&mut self) {
        let Self { queues, topology, health, metrics } = self;
        let mut depths = queues.depths(topology).await;
        if depths.as_ref().is_err_and(BrokerError::is_transient) {
            // Perhaps only the connection has ended: once more, on a new one.
            depths = queues.depths(topology).await;
        }
        // A queue that is not declared yet, or a missing permission, is an answer too.
        health.set_reached(Dependency::Rabbitmq, !depths.as_ref().is_err_and(BrokerError::is_transient));
        match depths {
            Ok(depths) => {
                metrics.queue_messages.set(depths.queue.into());
                metrics.dead_letter_queue_messages.set(depths.dead_letters.into());
                // Keeps its last value while it is unknown.
                if let Some(waiting) = depths.waiting {
                    metrics.wait_queue_messages.set(waiting.into());
                }
            }
            // The gauges keep their last values.
            Err(error) => tracing::debug!(error = error.one_line(), "could not read the queues' depths"),
        }
    }
}
