use clap::Args;
use clap::builder::PossibleValuesParser;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::cli::arguments::{moment, uuid};
use crate::dead_letters::{Filter, reasons};

/// Which dead letters; all conditions must hold, and none is all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct FilterOptions {
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
    message_id: Option<String>,
    /// Dead-lettered at this time or later: RFC 3339, or a duration back from now such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<OffsetDateTime>,
    /// Dead-lettered at this time or earlier: RFC 3339, or a duration back from now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<OffsetDateTime>,
    /// At this position in the queue, as `list` numbers them; 1 is the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    position: Option<u32>,
    /// The first N that match
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl From<&FilterOptions> for Filter {
    fn from(options: &FilterOptions) -> Self {
        let FilterOptions { reason, event_id, team_id, message_id, since, until, position, limit } = options;
        Self {
            reason: reason.clone(),
            event_id: *event_id,
            team_id: *team_id,
            message_id: message_id.clone(),
            since: *since,
            until: *until,
            position: *position,
            limit: *limit,
        }
    }
}
