use time::OffsetDateTime;
use uuid::Uuid;

use crate::broker::Delivery;
use crate::message::{Envelope, Reason, Reject, StatusMessage, decode};
use crate::policy::{Decision, EventEnd, decide};

/// One delivery and what it asks for.
pub(super) struct Item {
    pub(super) delivery: Delivery,
    pub(super) request: Request,
    /// The body's, or else the property, where it is a UUID.
    pub(super) message_id: Option<Uuid>,
}

impl Item {
    /// For the log: also a property that is no UUID, as other frameworks write it.
    pub(super) fn message_name(&self) -> Option<String> {
        self.message_id.map(|id| id.to_string()).or_else(|| self.delivery.envelope().message_id)
    }
}

/// What a delivery asks for, before anything is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// End an event.
    End(EventEnd),
    /// Nothing.
    Ignore {
        /// When the status was reached.
        occurred_at: OffsetDateTime,
    },
    /// It can never succeed.
    Reject(Reject),
}

impl Request {
    /// The event to end.
    pub(super) const fn end(&self) -> Option<EventEnd> {
        match self {
            Self::End(end) => Some(*end),
            Self::Ignore { .. } | Self::Reject(_) => None,
        }
    }

    /// When the status was reached.
    pub(super) const fn occurred_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::End(EventEnd { occurred_at, .. }) | Self::Ignore { occurred_at } => Some(*occurred_at),
            Self::Reject(_) => None,
        }
    }

    /// For the log.
    pub(super) fn event_id(&self) -> Option<String> {
        Some(self.end()?.event_id.to_string())
    }
}

/// Understands a delivery. Never fails: what cannot be understood is a [`Request::Reject`].
pub(super) fn intake(delivery: Delivery, max_message_bytes: u32, now: OffsetDateTime) -> Item {
    let envelope = delivery.envelope();
    match read(delivery.body(), &envelope, max_message_bytes, now) {
        Ok(message) => {
            let request = match decide(&message) {
                Decision::Delete(end) => Request::End(end),
                Decision::Ignore => Request::Ignore { occurred_at: message.occurred_at },
            };
            Item { delivery, request, message_id: message.message_id }
        }
        Err(reject) => Item { delivery, request: Request::Reject(reject), message_id: None },
    }
}

fn read(
    body: &[u8],
    envelope: &Envelope,
    max_message_bytes: u32,
    now: OffsetDateTime,
) -> Result<StatusMessage, Reject> {
    let size = body.len();
    if u64::try_from(size).unwrap_or(u64::MAX) > u64::from(max_message_bytes) {
        let error = format!("{size} bytes, more than the {max_message_bytes} of LIFECYCLE_MAX_MESSAGE_BYTES");
        return Err(Reject::new(Reason::TooLarge, error));
    }
    let message = decode(body, envelope)?;
    message.check_time(now)?;
    Ok(message)
}
