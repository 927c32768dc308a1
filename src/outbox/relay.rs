use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::publish::{PublishResult, message, rounds};
use super::report::{Report, log_change};
use super::walk::{StuckEvents, Walk};
use crate::backoff::{Backoff, jittered};
use crate::broker::{BrokerAddress, PublishError, Publisher};
use crate::heartbeat::Heartbeat;
use crate::lifecycle::Stop;
use crate::storage::{
    Database, HeldLease, LeaseAttempt, LeaseName, OutboxRecord, OutboxSignal, OutboxTrigger, StorageError, outbox_lease,
};
use crate::telemetry::{Lease, Metrics, OutboxOutcome};

/// Publishes what the outbox holds for an exchange, one replica of the fleet at a time.
pub struct Relay {
    database: Database,
    publisher: Publisher,
    exchange: String,
    /// Of this exchange: fleets with different ones do not wait for each other.
    lease: String,
    metrics: Metrics,
    holder: Uuid,
    /// When the lease was taken or renewed last.
    leased: Option<Instant>,
    heartbeat: Heartbeat,
    stuck: StuckEvents,
    walk: Walk,
}

/// Records in a batch.
const BATCH: u32 = 500;
/// The lease lasts ten seconds.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// Shorter than what is left of the lease then: whoever takes over must not meet what we still have on its way.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Another replica's lease is asked for again after this.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(3);
/// Between reads without notifications.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Between reads with notifications: the trigger spares some.
const POLL_ANYWAY: Duration = Duration::from_secs(1);
/// Between reads where the trigger is on no table.
const POLL_UNUSED: Duration = Duration::from_secs(5);
/// For a listener that was lost, or that a pooler did not allow.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_mins(1);

impl Relay {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(database: Database, address: BrokerAddress, exchange: String, metrics: Metrics) -> Self {
        let publisher = Publisher::new(address).with_timeout(CONFIRM_TIMEOUT);
        let lease = outbox_lease(&exchange);
        let (holder, leased, heartbeat) = (Uuid::new_v4(), None, Heartbeat::default());
        let (stuck, walk) = (StuckEvents::new(), Walk::new());
        Self { database, publisher, exchange, lease, metrics, holder, leased, heartbeat, stuck, walk }
    }

    /// Publishes until asked to stop, across all outages.
    pub async fn run(mut self, stop: Stop) {
        self.heartbeat = stop.heartbeat.clone();
        tokio::select! {
            () = self.work(&stop) => {}
            () = stop.hard.cancelled() => {}
        }
        if self.leased.is_some() {
            let release = self.database.lease_release(self.lease(), false);
            // Where the database does not answer, the lease expires.
            tokio::time::timeout(Duration::from_millis(200), release).await.ok();
        }
        self.publisher.close().await;
    }

    async fn work(&mut self, stop: &Stop) {
        let mut backoff = Backoff::for_outage();
        let mut signal = OutboxSignal::disconnected();
        let mut listen_at = Instant::now();
        let (mut works, mut triggers_checked) = (true, false);
        while !stop.soft.is_cancelled() {
            // Not cancelled by a soft stop: what is on its way is waited for, at most some seconds.
            let report = self.run_once().await;
            if !triggers_checked && matches!(report, Ok(Report::Empty | Report::Relayed { .. })) {
                triggers_checked = true;
                self.warn_of_triggers().await;
            }
            let failing = !matches!(report, Ok(Report::NotOurs | Report::Empty | Report::Relayed { failed: 0, .. }));
            // What is stuck is still so while the others are published.
            if failing || self.stuck.events.is_empty() {
                works = log_change(&report, works);
            }
            if works {
                backoff.reset();
                self.stuck.backoff.reset();
            }
            match report {
                Ok(Report::Relayed { outage: false, .. }) => {}
                Ok(Report::Empty) => {
                    if !signal.listens() && Instant::now() >= listen_at {
                        signal = self.database.outbox_signal().await;
                        listen_at = Instant::now() + LISTEN_AGAIN_AFTER;
                        // What was recorded before we listened.
                        continue;
                    }
                    let wait = self.until_next_read(&signal).await;
                    tokio::select! {
                        () = signal.wait(wait) => {}
                        () = stop.soft.cancelled() => {}
                    }
                }
                Ok(Report::NotOurs) => {
                    stop.sleep(jittered(TAKE_OVER_AFTER)).await;
                }
                Ok(Report::Relayed { .. }) | Err(_) => {
                    stop.sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Publishes the oldest records and removes what is confirmed.
    pub async fn run_once(&mut self) -> Result<Report, StorageError> {
        if !self.hold_lease().await? {
            return Ok(Report::NotOurs);
        }
        self.walk.begin_again_where_due(&mut self.stuck);
        // Where a record is not removed, or not sent, it comes first again.
        let walk = std::mem::replace(&mut self.walk, Walk::new());
        let began = Instant::now();
        let records = self.database.outbox_records(&self.exchange, walk.after, BATCH).await?;
        let reading = walk.reading + began.elapsed();
        let overtaking = |record: &OutboxRecord| record.is_behind && !self.stuck.events.contains(&record.event_id);
        let (late, sendable): (Vec<_>, Vec<_>) = records.iter().partition(|record| overtaking(record));
        let PublishResult { confirmed, failed, reason, outage } = self.publish(&sendable).await;
        if !confirmed.is_empty() {
            self.database.outbox_remove(&confirmed).await?;
        }
        self.metrics.outbox_messages.add(OutboxOutcome::Published, confirmed.len() as u64);
        self.metrics.outbox_messages.add(OutboxOutcome::Failed, failed as u64);
        if !outage && late.is_empty() {
            let after = records.last().map_or(walk.after, |record| record.id);
            self.walk = Walk { after, reading, again: walk.again };
            if records.len() < BATCH as usize {
                self.walk.end(&mut self.stuck);
            }
        }
        if records.is_empty() {
            return Ok(Report::Empty);
        }
        Ok(Report::Relayed { published: confirmed.len(), failed, outage, reason })
    }

    fn lease(&self) -> HeldLease<'_> {
        HeldLease { name: LeaseName::Outbox(&self.lease), holder: self.holder }
    }

    /// Takes or renews the lease where it could end before what is sent next is answered. Each turn begins here, and each round of one.
    async fn hold_lease(&mut self) -> Result<bool, StorageError> {
        self.heartbeat.back_after(Duration::ZERO);
        if self.leased.is_none_or(|at| at.elapsed() > RENEW_AFTER) {
            self.leased = None;
            let asked = Instant::now();
            let HeldLease { name, holder } = self.lease();
            let attempt = self.database.lease_acquire(name, holder, None).await?;
            if matches!(attempt, LeaseAttempt::TakenOver(_)) {
                self.metrics.lease_takeovers.add(Lease::Outbox, 1);
            }
            self.leased = attempt.held().map(|_| asked);
        }
        Ok(self.leased.is_some())
    }

    async fn publish(&mut self, records: &[&OutboxRecord]) -> PublishResult {
        let mut all = PublishResult::default();
        for round in rounds(records) {
            match self.hold_lease().await {
                Ok(true) => {}
                Ok(false) => {
                    all.outage = true;
                    break;
                }
                Err(error) => {
                    all.fail(error.one_line());
                    all.outage = true;
                    break;
                }
            }
            let (mut sent, mut messages) = (Vec::new(), Vec::new());
            for record in round {
                if self.stuck.events.contains(&record.event_id) {
                    continue;
                }
                match message(&self.exchange, record) {
                    Ok(outgoing) => {
                        sent.push(record);
                        messages.push(outgoing);
                    }
                    Err(error) => {
                        self.stuck.events.insert(record.event_id);
                        all.fail(error);
                    }
                }
            }
            if messages.is_empty() {
                continue;
            }
            let references: Vec<_> = messages.iter().collect();
            for (record, answer) in sent.into_iter().zip(self.publisher.publish(&references).await) {
                match answer {
                    Ok(()) => all.confirmed.push(record.id),
                    Err(error) => {
                        all.outage |= matches!(error, PublishError::Unconfirmed(_));
                        self.stuck.events.insert(record.event_id);
                        all.fail(error.to_string());
                    }
                }
            }
            if all.outage {
                break;
            }
        }
        all
    }

    /// Logs the triggers that an operator must install again.
    async fn warn_of_triggers(&self) {
        for OutboxTrigger { table, problem, .. } in self.database.outbox_triggers().await.unwrap_or_default() {
            if let Some(problem) = problem {
                tracing::warn!(table, problem, "the outbox's trigger is outdated: run `outbox install` again");
            }
        }
    }

    async fn until_next_read(&self, signal: &OutboxSignal) -> Duration {
        if signal.listens() {
            return POLL_ANYWAY;
        }
        let unused = self.database.outbox_triggers().await.is_ok_and(|triggers| triggers.is_empty());
        if unused { POLL_UNUSED } else { POLL_EVERY }
    }
}
