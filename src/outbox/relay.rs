use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::backoff::{Pauses, jittered};
use crate::broker::{BrokerAddress, Outgoing, PublishError, Publisher};
use crate::lifecycle::Stop;
use crate::message::{EventStatus, StatusMessage, UnknownStatus};
use crate::storage::{Acquired, Database, LeaseName, OutboxRecord, OutboxSignal, StorageError};
use crate::telemetry::Metrics;

/// Publishes what the outbox holds, one replica of the fleet at a time.
pub struct Relay {
    database: Database,
    publisher: Publisher,
    exchange: String,
    metrics: Metrics,
    holder: Uuid,
    /// When the lease was taken or renewed last.
    leased: Option<Instant>,
    stuck: Stuck,
}

/// Events whose record the broker gave back or refused: the others go on without them, and none of their later records
/// overtakes it.
struct Stuck {
    events: HashSet<Uuid>,
    /// They are tried again from then on.
    until: Instant,
    pauses: Pauses,
}

/// What a look at the outbox brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Another replica does it.
    NotOurs,
    /// Nothing is recorded.
    Empty,
    /// So many records were published and removed, and so many could not be.
    Relayed {
        /// Published and removed.
        published: usize,
        /// Still in the outbox.
        failed: usize,
        /// Whether others need not be tried now: the broker is away, or the lease is another's.
        outage: bool,
        /// Why the first one failed.
        reason: Option<String>,
    },
}

/// Records a look.
const BATCH: u32 = 500;
/// The lease lasts ten seconds.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// Shorter than what is left of the lease then: whoever takes over must not meet what we still have on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// With more events than that stuck, something is wrong with all of them.
const MOST_STUCK: usize = 5_000;
/// Another replica's lease is looked at again after this.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(3);
/// Between looks where nobody tells of a new record.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Between looks where somebody does, though not of each: the trigger spares notifications.
const POLL_ANYWAY: Duration = Duration::from_secs(1);
/// Between looks where the trigger is on no table.
const POLL_UNUSED: Duration = Duration::from_secs(5);
/// For a listener that was lost, or that a pooler did not allow.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_mins(1);

impl Relay {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(database: Database, address: BrokerAddress, exchange: String, metrics: Metrics) -> Self {
        let publisher = Publisher::new(address).with_patience(PATIENCE);
        let stuck = Stuck { events: HashSet::new(), until: Instant::now(), pauses: Pauses::for_outage() };
        Self { database, publisher, exchange, metrics, holder: Uuid::new_v4(), leased: None, stuck }
    }

    /// Publishes until asked to stop, across all outages.
    pub async fn run(mut self, stop: Stop) {
        tokio::select! {
            () = self.work(&stop) => {}
            () = stop.hard.cancelled() => {}
        }
        if self.leased.is_some() {
            let release = self.database.release_lease(LeaseName::Outbox, self.holder, false);
            // Where the database does not answer, the lease ends by itself.
            tokio::time::timeout(Duration::from_millis(200), release).await.ok();
        }
        self.publisher.close().await;
    }

    async fn work(&mut self, stop: &Stop) {
        let mut pauses = Pauses::for_outage();
        let mut signal = OutboxSignal::deaf();
        let mut listen_at = Instant::now();
        let mut well = true;
        while !stop.soft.is_cancelled() {
            if Instant::now() >= self.stuck.until {
                self.stuck.events.clear();
            }
            // Not cancelled by a soft stop: what is on its way is waited for, at most some seconds.
            let report = self.run_once().await;
            let failing = !matches!(report, Ok(Report::NotOurs | Report::Empty | Report::Relayed { failed: 0, .. }));
            // What is stuck is still so while the others are published.
            if failing || self.stuck.events.is_empty() {
                well = tell(&report, well);
            }
            if well {
                pauses.reset();
                self.stuck.pauses.reset();
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
                    let wait = self.until_next_look(&signal).await;
                    tokio::select! {
                        () = signal.wait(wait) => {}
                        () = stop.soft.cancelled() => {}
                    }
                }
                Ok(Report::NotOurs) => rest(jittered(TAKE_OVER_AFTER), stop).await,
                Ok(Report::Relayed { .. }) | Err(_) => rest(pauses.next_pause(), stop).await,
            }
        }
    }

    /// Publishes the oldest records and removes what is confirmed.
    pub async fn run_once(&mut self) -> Result<Report, StorageError> {
        if !self.hold_lease().await? {
            return Ok(Report::NotOurs);
        }
        let stuck: Vec<_> = self.stuck.events.iter().copied().collect();
        let records = self.database.outbox_records(BATCH, &stuck).await?;
        if records.is_empty() {
            return Ok(Report::Empty);
        }
        let Sent { confirmed, failed, reason, outage } = self.publish(&records).await;
        if !confirmed.is_empty() {
            self.database.remove_from_outbox(&confirmed).await?;
        }
        self.metrics.count_outbox(confirmed.len(), failed);
        let outage = outage || self.stuck.events.len() > MOST_STUCK;
        Ok(Report::Relayed { published: confirmed.len(), failed, outage, reason })
    }

    /// Takes or renews the lease where it could end before what is sent next is answered.
    async fn hold_lease(&mut self) -> Result<bool, StorageError> {
        if self.leased.is_none_or(|at| at.elapsed() > RENEW_AFTER) {
            self.leased = None;
            let asked = Instant::now();
            if self.database.acquire_lease(LeaseName::Outbox, self.holder, None).await? == Acquired::Yes {
                self.leased = Some(asked);
            }
        }
        Ok(self.leased.is_some())
    }

    /// In rounds, each with at most one record of an event, so that none overtakes another.
    async fn publish(&mut self, records: &[OutboxRecord]) -> Sent {
        let mut all = Sent::default();
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
                        self.stuck.add(record.event_id);
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
                        self.stuck.add(record.event_id);
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

    async fn until_next_look(&self, signal: &OutboxSignal) -> Duration {
        if signal.listens() {
            return POLL_ANYWAY;
        }
        let unused = self.database.outbox_triggers().await.is_ok_and(|triggers| triggers.is_empty());
        if unused { POLL_UNUSED } else { POLL_EVERY }
    }
}

/// What became of a batch.
#[derive(Default)]
struct Sent {
    confirmed: Vec<i64>,
    failed: usize,
    /// Of the first that failed.
    reason: Option<String>,
    outage: bool,
}

impl Sent {
    fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.reason.get_or_insert(reason);
    }
}

impl Stuck {
    fn add(&mut self, event: Uuid) {
        if self.events.is_empty() {
            self.until = Instant::now() + self.pauses.next_pause();
        }
        self.events.insert(event);
    }
}

async fn rest(pause: Duration, stop: &Stop) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.soft.cancelled() => {}
    }
}

/// Says once that it goes wrong, and once that it is well again.
fn tell(report: &Result<Report, StorageError>, was_well: bool) -> bool {
    let error = match report {
        Ok(Report::NotOurs | Report::Empty | Report::Relayed { failed: 0, .. }) => None,
        Ok(Report::Relayed { reason, .. }) => Some(reason.clone().unwrap_or_default()),
        Err(error) => Some(error.one_line()),
    };
    match (&error, was_well) {
        (Some(error), true) => tracing::warn!(error, "outbox is not published; its records wait, trying again"),
        (None, false) => tracing::info!("outbox is published again"),
        _ => {}
    }
    error.is_none()
}

fn rounds(records: &[OutboxRecord]) -> Vec<Vec<&OutboxRecord>> {
    let mut of_event: HashMap<Uuid, usize> = HashMap::new();
    let mut rounds: Vec<Vec<&OutboxRecord>> = Vec::new();
    for record in records {
        let round = of_event.entry(record.event_id).or_insert(0);
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(record);
        *round += 1;
    }
    rounds
}

fn message(exchange: &str, record: &OutboxRecord) -> Result<Outgoing, String> {
    let status: EventStatus =
        record.status.parse().map_err(|error: UnknownStatus| format!("outbox record {}: {error}", record.id))?;
    let message = StatusMessage {
        message_id: Some(record.message_id),
        event_id: record.event_id,
        team_id: record.team_id,
        status,
        step: None,
        occurred_at: record.occurred_at,
    };
    Outgoing::status(exchange, &message).map_err(|error| format!("outbox record {}: {error}", record.id))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn rounds_keep_the_order_of_each_event() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let record = |id, event_id| OutboxRecord {
            id,
            message_id: Uuid::nil(),
            event_id,
            team_id: None,
            status: "option".to_owned(),
            occurred_at: OffsetDateTime::UNIX_EPOCH,
        };
        let records = [record(1, a), record(2, b), record(3, a), record(4, a), record(5, b)];
        let ids: Vec<Vec<i64>> =
            rounds(&records).into_iter().map(|round| round.into_iter().map(|record| record.id).collect()).collect();
        assert_eq!(ids, [vec![1, 2], vec![3, 5], vec![4]]);
    }
}
