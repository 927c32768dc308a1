use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::session::{End, Open};
use crate::backoff::Backoff;
use crate::broker::{BrokerAddress, Publisher, Subscription, Topology};
use crate::lifecycle::Stop;
use crate::storage::{AccessError, Database};
use crate::telemetry::{Dependency, Health, Metrics};

/// How long a batch is held in hand during an outage. Well below RabbitMQ's `consumer_timeout` (30 minutes), and short enough
/// for another replica, which may reach the database where this one does not, to take over.
pub const HOLD_AT_MOST: Duration = Duration::from_mins(1);
/// A subscription that lasted this long was a good one: the next begins with the shortest pause.
const GOOD_EPOCH: Duration = Duration::from_secs(10);

/// Where and how messages are taken.
pub struct PipelineOptions {
    /// The broker.
    pub address: BrokerAddress,
    /// Its exchanges and queues.
    pub topology: Topology,
    /// Unacknowledged messages at most.
    pub prefetch: u16,
    /// Larger ones are dead-lettered unparsed.
    pub max_message_bytes: u32,
    /// Tries of a message that fails by itself.
    pub max_attempts: u32,
    /// How long a batch is held in hand during an outage, usually [`HOLD_AT_MOST`].
    pub hold_at_most: Duration,
}

/// Takes messages and sees to it that each gets its fate, across all outages.
pub struct Pipeline {
    pub(super) options: PipelineOptions,
    pub(super) database: Database,
    pub(super) publisher: Publisher,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
}

impl Pipeline {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: PipelineOptions, database: Database, health: Health, metrics: Metrics) -> Self {
        let publisher = Publisher::new(options.address.clone());
        Self { options, database, publisher, health, metrics }
    }

    /// Works until asked to stop. Returns earlier only where the first contact with a server shows something that waiting
    /// will not mend, which is logged.
    pub async fn run(self, stop: Stop) {
        let mut pauses = Backoff::for_outage();
        let mut first_contact = true;
        let mut open = Open::default();
        while !stop.soft.is_cancelled() {
            // Nothing is taken that could not be worked on.
            if !self.database_answers(first_contact, &mut pauses, &stop).await {
                break;
            }
            self.health.hold(false);
            let opening = Subscription::open(&self.options.address, &self.options.topology, self.options.prefetch);
            let opened = tokio::select! {
                opened = opening => opened,
                () = stop.soft.cancelled() => break,
            };
            match opened {
                Ok(mut subscription) => {
                    first_contact = false;
                    self.health.set(Dependency::Rabbitmq, true);
                    tracing::info!(
                        queue = self.options.topology.queue(),
                        prefetch = self.options.prefetch,
                        "consuming"
                    );
                    let began = Instant::now();
                    let end = tokio::select! {
                        end = self.epoch(&mut subscription, &mut open, &stop) => end,
                        () = stop.hard.cancelled() => End::Stopped,
                    };
                    open.let_go();
                    if end == End::Lost {
                        self.health.set(Dependency::Rabbitmq, false);
                    }
                    subscription.close().await;
                    if began.elapsed() > GOOD_EPOCH {
                        pauses.reset();
                    }
                    if end == End::Stopped {
                        break;
                    }
                }
                Err(error) => {
                    self.health.set(Dependency::Rabbitmq, false);
                    if first_contact && !error.is_transient() {
                        tracing::error!(
                            error = error.one_line(),
                            broker = self.options.address.host(),
                            "cannot work on this broker"
                        );
                        return;
                    }
                    tracing::warn!(
                        error = error.one_line(),
                        broker = self.options.address.host(),
                        "broker is away; trying again"
                    );
                }
            }
            pause(&mut pauses, &stop).await;
        }
        self.publisher.close().await;
    }

    /// Waits until the database answers and the role may do the job; `false` when there is no point in going on.
    async fn database_answers(&self, first_contact: bool, pauses: &mut Backoff, stop: &Stop) -> bool {
        while !stop.soft.is_cancelled() {
            let checked = tokio::select! {
                checked = self.database.check_ready() => checked,
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
                        "database takes no deletes; taking no messages until it does"
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
            pause(pauses, stop).await;
        }
        false
    }
}

/// Waits, unless asked to stop.
pub(super) async fn pause(pauses: &mut Backoff, stop: &Stop) {
    tokio::select! {
        () = sleep(pauses.next_delay()) => {}
        () = stop.soft.cancelled() => {}
    }
}
