use clap::Args;
use clap::builder::PossibleValuesParser;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::broker::DeadLetter;
use crate::cli::arguments::{moment, uuid};
use crate::message::Reason;

/// Which letters; all conditions must hold, and none is all of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which letters")]
pub(super) struct Filter {
    /// Dead-lettered for this reason
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(reasons()))]
    reason: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID", value_parser = uuid)]
    event_id: Option<Uuid>,
    /// Of this team
    #[arg(long, value_name = "ID", value_parser = uuid)]
    team_id: Option<Uuid>,
    /// With this message id
    #[arg(long, value_name = "ID")]
    pub(super) message_id: Option<String>,
    /// Dead-lettered at this time or later: RFC 3339, or a duration back from now such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<OffsetDateTime>,
    /// Dead-lettered at this time or earlier: RFC 3339, or a duration back from now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<OffsetDateTime>,
    /// The letter at this place in the queue, as `list` numbers them; 1 is the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) position: Option<u32>,
    /// The first N that match
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

/// A walk along the letters.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    filter: &'a Filter,
    limit: Option<u32>,
    /// Of the letter that was looked at last.
    pub(super) position: u32,
    /// Letters that matched so far.
    pub(super) matched: u32,
}

impl Filter {
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { filter: self, limit: self.limit, position: 0, matched: 0 }
    }

    /// Whether every letter matches.
    pub(super) const fn is_empty(&self) -> bool {
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
        // The same UUID may be written in other letters.
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

impl Walk<'_> {
    /// The same, but with this limit where none was given.
    pub(super) fn limited_to(mut self, limit: u32) -> Self {
        self.limit.get_or_insert(limit);
        self
    }

    /// Whether the next letter is one of those.
    pub(super) fn takes(&mut self, letter: &DeadLetter) -> bool {
        self.position += 1;
        let takes = !self.is_over() && self.filter.matches(self.position, letter);
        self.matched += u32::from(takes);
        takes
    }

    /// Whether nothing further can match.
    pub(super) fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.matched >= limit)
            || self.filter.position.is_some_and(|wanted| self.position > wanted)
    }
}

/// Of letters that RabbitMQ itself dead-lettered, beside `delivery_limit`: a publisher's own expiration, a policy's limit.
const OF_THE_BROKER: [&str; 3] = ["expired", "maxlen", "rejected"];

fn reasons() -> Vec<&'static str> {
    Reason::ALL.into_iter().map(Reason::as_str).chain(OF_THE_BROKER).collect()
}
