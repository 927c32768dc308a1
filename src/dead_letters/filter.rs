use time::OffsetDateTime;
use uuid::Uuid;

use crate::broker::DeadLetter;
use crate::message::Reason;

/// Which dead letters; all conditions must hold, and none is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Dead-lettered for this reason.
    pub reason: Option<String>,
    /// Of this event.
    pub event_id: Option<Uuid>,
    /// Of this team.
    pub team_id: Option<Uuid>,
    /// With this message id.
    pub message_id: Option<String>,
    /// Dead-lettered at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Dead-lettered at this time or earlier.
    pub until: Option<OffsetDateTime>,
    /// At this position in the queue; 1 is the oldest.
    pub position: Option<u32>,
    /// The first ones that match.
    pub limit: Option<u32>,
}

/// A search through the dead letters, from the oldest on.
#[derive(Debug)]
pub(super) struct Search<'a> {
    filter: &'a Filter,
    limit: Option<u32>,
    position: u32,
    matched: u32,
}

impl Filter {
    pub(super) fn search(&self) -> Search<'_> {
        Search { filter: self, limit: self.limit, position: 0, matched: 0 }
    }

    /// Whether every dead letter matches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { reason, event_id, team_id, message_id, since, until, position, limit } = self;
        reason.is_none()
            && event_id.is_none()
            && team_id.is_none()
            && message_id.is_none()
            && since.is_none()
            && until.is_none()
            && position.is_none()
            && limit.is_none()
    }

    fn matches(&self, position: u32, letter: &DeadLetter) -> bool {
        // The same UUID may be written in upper or in lower case.
        let is = |wanted: Option<Uuid>, text: &Option<String>| {
            wanted.is_none_or(|wanted| text.as_deref().and_then(|text| Uuid::parse_str(text).ok()) == Some(wanted))
        };
        (self.reason.is_none() || letter.reason == self.reason)
            && is(self.event_id, &letter.event_id)
            && is(self.team_id, &letter.team_id)
            && self
                .message_id
                .as_ref()
                .is_none_or(|id| letter.message_id.as_ref().is_some_and(|letters| letters.eq_ignore_ascii_case(id)))
            && self.since.is_none_or(|since| letter.at().is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| letter.at().is_some_and(|at| at <= until))
            && self.position.is_none_or(|wanted| wanted == position)
    }
}

impl Search<'_> {
    /// The same, but with this limit where none was given.
    pub(super) fn limited_to(mut self, limit: u32) -> Self {
        self.limit.get_or_insert(limit);
        self
    }

    /// Goes on to the next dead letter, and says whether it matches.
    pub(super) fn matches(&mut self, letter: &DeadLetter) -> bool {
        self.position += 1;
        let matches = !self.is_over() && self.filter.matches(self.position, letter);
        self.matched += u32::from(matches);
        matches
    }

    /// Whether nothing further can match.
    pub(super) fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.matched >= limit)
            || self.filter.position.is_some_and(|wanted| self.position > wanted)
    }

    /// The position of the dead letter read last.
    pub(super) const fn position(&self) -> u32 {
        self.position
    }

    /// Dead letters that matched so far.
    pub(super) const fn matched(&self) -> u32 {
        self.matched
    }

    /// Begins at the front again, where `matched` have matched before and are gone.
    pub(super) const fn restart(&mut self, matched: u32) {
        (self.position, self.matched) = (0, matched);
    }
}

/// Reasons of messages that RabbitMQ itself dead-lettered, beside `delivery_limit`: a publisher's own expiration, a policy's limit.
const OF_RABBITMQ: [&str; 3] = ["expired", "maxlen", "rejected"];

/// The reasons that a dead letter can have.
#[must_use]
pub fn reasons() -> Vec<&'static str> {
    Reason::ALL.into_iter().map(Reason::as_str).chain(OF_RABBITMQ).collect()
}
