use std::collections::BTreeMap;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::message::StatusMessage;

/// What a valid message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Delete the event's snapshots made at or before the moment it ended.
    Delete(EventEnd),
    /// Nothing to delete: the status does not end the event.
    Ignore,
}

/// The end of one event: which snapshots are deleted, and up to which time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventEnd {
    /// The event that ended.
    pub event_id: Uuid,
    /// Limits the delete to one team, where the publisher named it.
    pub team_id: Option<Uuid>,
    /// Snapshots created later stay.
    pub occurred_at: OffsetDateTime,
}

/// Confirmed and cancelled end an event; every other status changes nothing.
#[must_use]
pub fn decide(message: &StatusMessage) -> Decision {
    if message.status.ends_event() {
        Decision::Delete(EventEnd {
            event_id: message.event_id,
            team_id: message.team_id,
            occurred_at: message.occurred_at,
        })
    } else {
        Decision::Ignore
    }
}

/// One entry per event and team, with the latest end, in ascending order.
///
/// The latest end covers every earlier one, so a batch full of duplicates costs one look-up; and since every worker
/// takes its row locks in this one order, two workers with the same events rarely deadlock.
#[must_use]
pub fn merge(ends: impl IntoIterator<Item = EventEnd>) -> Vec<EventEnd> {
    let mut latest = BTreeMap::new();
    for end in ends {
        latest
            .entry((end.event_id, end.team_id))
            .and_modify(|at: &mut OffsetDateTime| *at = end.occurred_at.max(*at))
            .or_insert(end.occurred_at);
    }
    latest.into_iter().map(|((event_id, team_id), occurred_at)| EventEnd { event_id, team_id, occurred_at }).collect()
}

/// For error texts: the teams that own an event's snapshots, the first three of them.
#[must_use]
pub fn named_teams(teams: &[Uuid]) -> String {
    let named: Vec<_> = teams.iter().take(3).map(Uuid::to_string).collect();
    let more = teams.len().saturating_sub(named.len());
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    format!("team {}{others}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventStatus;
    use time::macros::datetime;

    #[test]
    fn only_an_ending_status_deletes() {
        let at = datetime!(2026-01-05 12:00 UTC);
        for status in EventStatus::ALL {
            let message = StatusMessage::new(Uuid::nil(), status, at);
            let deletes = matches!(decide(&message), Decision::Delete(end) if end.occurred_at == at);
            assert_eq!(deletes, status.ends_event(), "{status}");
        }
    }

    #[test]
    fn merging_keeps_the_latest_end_of_each_event_and_team() {
        let end = |event: u128, team: Option<u128>, minute: u8| EventEnd {
            event_id: Uuid::from_u128(event),
            team_id: team.map(Uuid::from_u128),
            occurred_at: datetime!(2026-01-05 12:00 UTC).replace_minute(minute).unwrap(),
        };
        let merged = merge([end(2, None, 1), end(1, Some(9), 5), end(2, None, 3), end(1, None, 4), end(2, None, 2)]);
        assert_eq!(merged, [end(1, None, 4), end(1, Some(9), 5), end(2, None, 3)]);
    }

    #[test]
    fn three_teams_are_named_and_more_are_counted() {
        let teams: Vec<_> = (1..=5).map(Uuid::from_u128).collect();
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        assert_eq!(named_teams(&teams[..1]), format!("team {one}"));
        assert_eq!(named_teams(&teams[..3]), format!("team {one}, {two}, {three}"));
        assert_eq!(named_teams(&teams), format!("team {one}, {two}, {three} and 2 others"));
    }
}
