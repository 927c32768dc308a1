use std::time::Duration;

use tokio::time::Instant;

use super::apply::Apply;
use super::intake::Intake;
use super::republish::Republisher;
use super::session::{Session, SessionEnd};
use super::settle::Settle;
use super::slow_events::SlowEvents;
use crate::backoff::Backoff;
use crate::broker::{BrokerAddress, BrokerError, Publisher, Subscription, Topology};
use crate::lifecycle::Stop;
use crate::policy::Activity;
use crate::storage::{AccessError, Database, StepSize, pause_of};
use crate::telemetry::{Dependency, Health, Metrics, Traces};

/// How long a batch is held during an outage. Well below RabbitMQ's `consumer_timeout` (30 minutes), and short enough for another replica,
/// which may reach the database when this one does not, to take over.
pub const HOLD_AT_MOST: Duration = Duration::from_mins(1);
/// How soon the end of a pause is noticed, once the monitor has read it.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// After a session that lasted this long the next one begins after the shortest delay.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// How messages are consumed.
pub struct PipelineOptions {
    /// The broker.
    pub address: BrokerAddress,
    /// Its exchanges and queues.
    pub topology: Topology,
    /// Unacknowledged messages at most.
    pub prefetch: u16,
    /// Larger bodies are dead-lettered unparsed.
    pub max_message_bytes: u32,
    /// Attempts before a failing message is dead-lettered.
    pub max_attempts: u32,
    /// How long a batch is held during an outage, usually [`HOLD_AT_MOST`].
    pub hold_at_most: Duration,
}

/// Consumes messages and gives each its outcome, across all outages.
pub struct Pipeline {
    options: PipelineOptions,
    database: Database,
    publisher: Publisher,
    apply: Apply,
    health: Health,
    metrics: Metrics,
    traces: Traces,
}

impl Pipeline {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: PipelineOptions, database: Database, health: Health, metrics: Metrics, traces: Traces) -> Self {
        let publisher = Publisher::new(options.address.clone());
        let apply = Apply::new(database.clone(), metrics.clone());
        Self { options, database, publisher, apply, health, metrics, traces }
    }

    /// Works until asked to stop. Returns earlier only if the first contact with a server shows something that retrying cannot fix; that
    /// is logged.
    pub async fn run(self, stop: Stop) {
        let mut backoff = Backoff::for_outage();
        let mut step_size = StepSize::default();
        let mut first_contact = true;
        // Nothing is consumed that could not be worked on.
        while self.database_takes_deletes(first_contact, &mut backoff, &stop).await {
            self.health.hold(false);
            if self.is_paused().await {
                self.wait_until_resumed(&stop).await;
                continue;
            }
            let opening = Subscription::open(&self.options.address, &self.options.topology, self.options.prefetch);
            let opened = tokio::select! {
                opened = opening => opened,
                () = stop.soft.cancelled() => break,
            };
            match opened {
                Ok(subscription) => {
                    first_contact = false;
                    let began = Instant::now();
                    if self.consume(subscription, &mut step_size, &stop).await == SessionEnd::Stopped {
                        break;
                    }
                    if began.elapsed() > GOOD_SESSION {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    if !self.broker_may_return(&error, first_contact) {
                        return;
                    }
                }
            }
            stop.sleep(backoff.next_delay()).await;
        }
        self.publisher.close().await;
    }

    /// Asked before a message is taken: one that is returned has cost a delivery. Where the database does not answer, what was read last holds.
    async fn is_paused(&self) -> bool {
        if let Ok(list) = self.database.pause_list().await {
            self.health.set_paused(|activity| pause_of(&list, activity));
        }
        self.health.is_paused(Activity::Consume)
    }

    /// The monitor reads when the pause ends. Meanwhile the broker is not in use, and up if the monitor reaches it.
    async fn wait_until_resumed(&self, stop: &Stop) {
        self.health.set_unused(Dependency::Rabbitmq);
        while self.health.is_paused(Activity::Consume) && stop.sleep(ASK_EVERY).await {}
    }

    /// One session.
    async fn consume(&self, subscription: Subscription, step_size: &mut StepSize, stop: &Stop) -> SessionEnd {
        let Self { options, database, publisher, apply, health, metrics, traces } = self;
        let (topology, prefetch) = (&options.topology, options.prefetch);
        health.set(Dependency::Rabbitmq, true);
        tracing::info!(queue = topology.queue(), prefetch, "consuming");
        let republisher = Republisher::new(publisher, &options.address, topology);
        let mut session = Session {
            subscription,
            intake: Intake { max_message_bytes: options.max_message_bytes },
            apply,
            settle: Settle::new(topology, options.max_attempts, metrics, republisher),
            slow_events: SlowEvents::new(database, apply, metrics, step_size),
            database,
            health,
            metrics,
            traces,
            hold_at_most: options.hold_at_most,
        };
        let end = tokio::select! {
            end = session.run(stop) => end,
            () = stop.hard.cancelled() => SessionEnd::Stopped,
        };
        if end == SessionEnd::Lost {
            health.set(Dependency::Rabbitmq, false);
        }
        session.close().await;
        end
    }

    fn broker_may_return(&self, error: &BrokerError, first_contact: bool) -> bool {
        self.health.set(Dependency::Rabbitmq, false);
        let (error_line, broker) = (error.one_line(), self.options.address.host());
        let may_return = !first_contact || error.is_transient();
        if may_return {
            tracing::warn!(error = error_line, broker, "broker is unavailable; trying again");
        } else {
            tracing::error!(error = error_line, broker, "cannot work on this broker");
        }
        may_return
    }

    /// Waits until the database answers and the role may do the job; `false` when there is no point in going on.
    async fn database_takes_deletes(&self, first_contact: bool, backoff: &mut Backoff, stop: &Stop) -> bool {
        while !stop.soft.is_cancelled() {
            stop.heartbeat.back_after(Duration::ZERO);
            let checked = tokio::select! {
                checked = self.database.access_check_with_delete() => checked,
                () = stop.soft.cancelled() => return false,
            };
            match checked {
                Ok(()) => {
                    self.health.set(Dependency::Postgres, true);
                    return true;
                }
                Err(AccessError::Storage(error)) if error.is_transient() || !first_contact => {
                    self.health.set(Dependency::Postgres, false);
                    tracing::warn!(
                        error = error.one_line(),
                        "database takes no deletes; consuming nothing until it does"
                    );
                }
                Err(AccessError::Storage(error)) => {
                    tracing::error!(error = error.one_line(), "cannot work on this database");
                    return false;
                }
                Err(error) => {
                    self.health.set(Dependency::Postgres, false);
                    tracing::error!(%error, "cannot work on this database");
                    if first_contact {
                        return false;
                    }
                }
            }
            stop.sleep(backoff.next_delay()).await;
        }
        false
    }
}
