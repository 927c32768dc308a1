use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::backoff::{Backoff, jittered};
use crate::broker::{BrokerAddress, Outgoing, PublishError, Publisher};
use crate::lifecycle::Stop;
use crate::message::{EventStatus, StatusMessage, UnknownStatus};
use crate::storage::{
    Database, HeldLease, LeaseName, OutboxRecord, OutboxSignal, OutboxTrigger, StorageError, outbox_lease,
};
use crate::telemetry::{Metrics, OutboxOutcome};

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
    stuck: Stuck,
    walk: Walk,
}

/// Events whose record the broker gave back or refused: the others go on without them, and none of their later records
/// overtakes it.
struct Stuck {
    events: HashSet<Uuid>,
    /// They are tried again from then on; set at the end of the walk that met them.
    until: Option<Instant>,
    pauses: Backoff,
}

/// The outbox is walked in the order of ids, so that however many events are stuck, it comes to those behind them. At its end
/// only what is new is looked for, since a look from the start passes all that was removed but cannot be vacuumed yet, under an
/// old transaction. A record may be committed behind the walk, because a transaction with a higher id was faster: so now and
/// then the walk begins anew, and at once where it meets a later record of the same event, which must not overtake.
struct Walk {
    /// Up to this id everything is published or stuck.
    after: i64,
    /// How long the looks of this walk took.
    looking: Duration,
    /// When the next walk begins, once this one has come to the end.
    again: Option<Instant>,
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
        /// PublishReport and removed.
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
/// A walk that took so long begins anew after so many times that, so that an idle relay costs the database next to nothing…
const WALKS_APART: u32 = 50;
/// … but after this at the latest.
const WALK_AGAIN_AFTER: Duration = Duration::from_secs(10);
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
        let publisher = Publisher::new(address).with_timeout(PATIENCE);
        let lease = outbox_lease(&exchange);
        let stuck = Stuck { events: HashSet::new(), until: None, pauses: Backoff::for_outage() };
        let (holder, leased, walk) = (Uuid::new_v4(), None, Walk::new());
        Self { database, publisher, exchange, lease, metrics, holder, leased, stuck, walk }
    }

    /// Publishes until asked to stop, across all outages.
    pub async fn run(mut self, stop: Stop) {
        tokio::select! {
            () = self.work(&stop) => {}
            () = stop.hard.cancelled() => {}
        }
        if self.leased.is_some() {
            let release = self.database.lease_release(self.lease(), false);
            // Where the database does not answer, the lease ends by itself.
            tokio::time::timeout(Duration::from_millis(200), release).await.ok();
        }
        self.publisher.close().await;
    }

    async fn work(&mut self, stop: &Stop) {
        let mut pauses = Backoff::for_outage();
        let mut signal = OutboxSignal::disconnected();
        let mut listen_at = Instant::now();
        let (mut well, mut looked) = (true, false);
        while !stop.soft.is_cancelled() {
            // Not cancelled by a soft stop: what is on its way is waited for, at most some seconds.
            let report = self.run_once().await;
            if !looked && matches!(report, Ok(Report::Empty | Report::Relayed { .. })) {
                looked = true;
                self.tell_of_triggers().await;
            }
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
                Ok(Report::Relayed { .. }) | Err(_) => rest(pauses.next_delay(), stop).await,
            }
        }
    }

    /// Publishes the oldest records and removes what is confirmed.
    pub async fn run_once(&mut self) -> Result<Report, StorageError> {
        if !self.hold_lease().await? {
            return Ok(Report::NotOurs);
        }
        self.begin_anew_where_due();
        // Where a record is not removed, or not sent, it comes first again.
        let walk = std::mem::replace(&mut self.walk, Walk::new());
        let began = Instant::now();
        let records = self.database.outbox_records(&self.exchange, walk.after, BATCH).await?;
        let looking = walk.looking + began.elapsed();
        let overtaking = |record: &OutboxRecord| record.is_behind && !self.stuck.events.contains(&record.event_id);
        let (late, sendable): (Vec<_>, Vec<_>) = records.iter().partition(|record| overtaking(record));
        let Sent { confirmed, failed, reason, outage } = self.publish(&sendable).await;
        if !confirmed.is_empty() {
            self.database.outbox_remove(&confirmed).await?;
        }
        self.metrics.outbox_messages.add(OutboxOutcome::Published, confirmed.len() as u64);
        self.metrics.outbox_messages.add(OutboxOutcome::Failed, failed as u64);
        if !outage && late.is_empty() {
            let after = records.last().map_or(walk.after, |record| record.id);
            self.walk = Walk { after, looking, again: walk.again };
            if records.len() < BATCH as usize {
                self.end_walk();
            }
        }
        if records.is_empty() {
            return Ok(Report::Empty);
        }
        Ok(Report::Relayed { published: confirmed.len(), failed, outage, reason })
    }

    fn end_walk(&mut self) {
        let now = Instant::now();
        let pause = (self.walk.looking * WALKS_APART).min(WALK_AGAIN_AFTER);
        self.walk.again.get_or_insert(now + pause);
        if !self.stuck.events.is_empty() && self.stuck.until.is_none() {
            self.stuck.until = Some(now + self.stuck.pauses.next_delay().max(pause));
        }
    }

    /// Only at the end of a walk: what is stuck in front must not keep it from what is behind.
    fn begin_anew_where_due(&mut self) {
        let Some(again) = self.walk.again else { return };
        let now = Instant::now();
        let retry = self.stuck.until.is_some_and(|until| now >= until);
        if retry {
            self.stuck.events.clear();
            self.stuck.until = None;
        }
        if retry || now >= again {
            self.walk = Walk::new();
        }
    }

    fn lease(&self) -> HeldLease<'_> {
        HeldLease { name: LeaseName::Outbox(&self.lease), holder: self.holder }
    }

    /// Takes or renews the lease where it could end before what is sent next is answered.
    async fn hold_lease(&mut self) -> Result<bool, StorageError> {
        if self.leased.is_none_or(|at| at.elapsed() > RENEW_AFTER) {
            self.leased = None;
            let asked = Instant::now();
            let HeldLease { name, holder } = self.lease();
            if self.database.lease_acquire(name, holder, None).await?.held().is_some() {
                self.leased = Some(asked);
            }
        }
        Ok(self.leased.is_some())
    }

    /// In rounds, each with at most one record of an event, so that none overtakes another.
    async fn publish(&mut self, records: &[&OutboxRecord]) -> Sent {
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

    /// Of those that an operator must see to.
    async fn tell_of_triggers(&self) {
        for OutboxTrigger { table, problem, .. } in self.database.outbox_triggers().await.unwrap_or_default() {
            if let Some(problem) = problem {
                tracing::warn!(table, problem, "the outbox's trigger is to be installed anew, by `outbox install`");
            }
        }
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

impl Walk {
    const fn new() -> Self {
        Self { after: i64::MIN, looking: Duration::ZERO, again: None }
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

fn rounds<'a>(records: &[&'a OutboxRecord]) -> Vec<Vec<&'a OutboxRecord>> {
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
            is_behind: false,
        };
        let records = [record(1, a), record(2, b), record(3, a), record(4, a), record(5, b)];
        let ids: Vec<Vec<i64>> = rounds(&records.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|round| round.into_iter().map(|record| record.id).collect())
            .collect();
        assert_eq!(ids, [vec![1, 2], vec![3, 5], vec![4]]);
    }

    #[tokio::test]
    async fn walk_goes_on_from_its_end_and_begins_anew_when_that_is_cheap_or_due() {
        let url = secrecy::SecretString::from("postgres://nobody@127.0.0.1:1/none");
        let amqp = secrecy::SecretString::from("amqp://127.0.0.1:1");
        let database = Database::new(Some(&url), 1).unwrap();
        let address = BrokerAddress::parse(Some(&amqp)).unwrap();
        let mut relay = Relay::new(database, address, "event.status".to_owned(), Metrics::new());
        for (looking, pause) in [
            (Duration::ZERO, Duration::ZERO),
            (Duration::from_millis(100), Duration::from_secs(5)),
            (Duration::from_mins(1), Duration::from_secs(10)),
        ] {
            relay.walk = Walk { after: 7, looking, again: None };
            relay.begin_anew_where_due();
            assert_eq!(relay.walk.after, 7, "it has not come to its end");
            let before = Instant::now();
            relay.end_walk();
            let again = relay.walk.again.unwrap();
            assert!(again >= before + pause && again <= Instant::now() + pause, "{looking:?}");
        }
        relay.walk.again = Some(Instant::now() + Duration::from_hours(1));
        relay.begin_anew_where_due();
        assert_eq!(relay.walk.after, 7, "it is not due");
        relay.walk.again = Some(Instant::now());
        relay.begin_anew_where_due();
        assert_eq!(relay.walk.after, i64::MIN, "it is due");
        relay.walk = Walk { after: 7, looking: Duration::ZERO, again: Some(Instant::now() + Duration::from_hours(1)) };
        relay.stuck.events.insert(Uuid::nil());
        relay.stuck.until = Some(Instant::now());
        relay.begin_anew_where_due();
        assert_eq!((relay.walk.after, relay.stuck.events.len()), (i64::MIN, 0), "what is stuck is due");
    }
}
