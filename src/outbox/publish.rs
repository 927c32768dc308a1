use std::collections::HashMap;

use uuid::Uuid;

use crate::broker::Outgoing;
use crate::message::{EventStatus, StatusMessage, UnknownStatus};
use crate::storage::OutboxRecord;

/// What became of the records of a batch.
#[derive(Default)]
pub(super) struct PublishResult {
    /// Their ids.
    pub(super) confirmed: Vec<i64>,
    pub(super) failed: usize,
    /// Why the first one failed.
    pub(super) reason: Option<String>,
    pub(super) outage: bool,
}

impl PublishResult {
    pub(super) fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.reason.get_or_insert(reason);
    }
}

/// The records in rounds, each with at most one record of an event, so that none overtakes another.
pub(super) fn rounds<'a>(records: &[&'a OutboxRecord]) -> Vec<Vec<&'a OutboxRecord>> {
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

/// The message of a record.
pub(super) fn message(exchange: &str, record: &OutboxRecord) -> Result<Outgoing, String> {
    let status: EventStatus =
        record.status.parse().map_err(|error: UnknownStatus| format!("outbox record {}: {error}", record.id))?;
    let message = StatusMessage {
        message_id: Some(record.message_id),
        event_id: record.event_id,
        team_id: record.team_id,
        status,
        step: None,
        occurred_at: record.occurred_at,
        trace_context: record.traceparent.as_deref().and_then(|text| text.parse().ok()),
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
            traceparent: None,
            is_behind: false,
        };
        let records = [record(1, a), record(2, b), record(3, a), record(4, a), record(5, b)];
        let ids: Vec<Vec<i64>> = rounds(&records.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|round| round.into_iter().map(|record| record.id).collect())
            .collect();
        assert_eq!(ids, [vec![1, 2], vec![3, 5], vec![4]]);
    }
}
