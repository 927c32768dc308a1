use clap::Args;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::cli::arguments::{rfc3339, uuid};
use crate::clock;
use crate::message::{EventStatus, StatusMessage, TraceContext};

/// The flags of one status message, for `publish`, which takes a file or prints the schema instead.
#[derive(Debug, Args)]
pub(super) struct StatusMessageOptions {
    /// The event whose status changed
    #[arg(long, value_name = "ID", value_parser = uuid, requires = "status", conflicts_with_all = ["from", "schema"])]
    event_id: Option<Uuid>,
    /// The status reached: lead, option, confirmed, cancelled or blocked
    #[arg(long, value_name = "STATUS", requires = "event_id", conflicts_with_all = ["from", "schema"])]
    status: Option<EventStatus>,
    /// Limits the delete to this team's snapshots
    #[arg(long, value_name = "ID", value_parser = uuid, conflicts_with_all = ["from", "schema"])]
    team_id: Option<Uuid>,
    /// When the status was reached, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = rfc3339, conflicts_with_all = ["from", "schema"])]
    occurred_at: Option<OffsetDateTime>,
    /// Id to find the message by [default: a random UUID]
    #[arg(long, value_name = "ID", value_parser = uuid, conflicts_with_all = ["from", "schema"])]
    message_id: Option<Uuid>,
    /// The workflow step
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "schema"])]
    step: Option<i64>,
}

impl StatusMessageOptions {
    /// The message; `None` where the flags do not name one.
    pub(super) fn message(self, trace_context: Option<TraceContext>) -> Option<StatusMessage> {
        Some(StatusMessage {
            message_id: Some(self.message_id.unwrap_or_else(Uuid::new_v4)),
            event_id: self.event_id?,
            team_id: self.team_id,
            status: self.status?,
            step: self.step,
            occurred_at: self.occurred_at.unwrap_or_else(clock::now),
            trace_context,
        })
    }
}
