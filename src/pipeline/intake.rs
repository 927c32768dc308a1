use time::OffsetDateTime;
use uuid::Uuid;

use crate::broker::Delivery;
use crate::clock;
use crate::message::{Envelope, Reason, Reject, StatusMessage, TraceContext, decode};
use crate::policy::{Decision, EventEnd, decide};

/// The first step: what each delivery asks for.
pub(super) struct Intake {
    /// Larger bodies are dead-lettered unparsed.
    pub(super) max_message_bytes: u32,
}

/// One delivery and what it asks for.
pub(super) struct Item {
    pub(super) delivery: Delivery,
    pub(super) request: Request,
    /// From the body, or else from the property if that is a UUID.
    pub(super) message_id: Option<Uuid>,
}

impl Item {
    /// Where it comes from, in a trace, and its id.
    pub(super) fn origin(&self) -> (Option<TraceContext>, Option<Uuid>) {
        (self.delivery.trace_context(), self.message_id)
    }

    /// For the log: the property also if it is no UUID, as other frameworks write it.
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

impl Intake {
    /// Reads deliveries. Never fails: what cannot be understood is a [`Request::Reject`].
    pub(super) fn read(&self, deliveries: Vec<Delivery>) -> Vec<Item> {
        let now = clock::now();
        deliveries.into_iter().map(|delivery| self.item(delivery, now)).collect()
    }

    fn item(&self, delivery: Delivery, now: OffsetDateTime) -> Item {
        let envelope = delivery.envelope();
        match self.message(delivery.body(), &envelope, now) {
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

    fn message(&self, body: &[u8], envelope: &Envelope, now: OffsetDateTime) -> Result<StatusMessage, Reject> {
        let (size, max) = (body.len(), self.max_message_bytes);
        if u64::try_from(size).unwrap_or(u64::MAX) > u64::from(max) {
            let error = format!("{size} bytes, more than the {max} of LIFECYCLE_MAX_MESSAGE_BYTES");
            return Err(Reject::new(Reason::TooLarge, error));
        }
        let message = decode(body, envelope)?;
        message.check_time(now)?;
        Ok(message)
    }
}
