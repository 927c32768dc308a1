use time::OffsetDateTime;

use crate::broker::Delivery;
use crate::message::{Reason, Reject, decode};
use crate::policy::{Decision, EventEnd, decide};

/// One delivery and what it asks for.
pub(super) struct Item {
    pub(super) delivery: Delivery,
    pub(super) request: Request,
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

/// Understands a delivery. Never fails: what cannot be understood is a [`Request::Reject`].
pub(super) fn intake(delivery: Delivery, max_message_bytes: u32) -> Item {
    let request = request(&delivery, max_message_bytes);
    Item { delivery, request }
}

fn request(delivery: &Delivery, max_message_bytes: u32) -> Request {
    let size = delivery.body().len();
    if u64::try_from(size).unwrap_or(u64::MAX) > u64::from(max_message_bytes) {
        let error = format!("{size} bytes, more than the {max_message_bytes} of LIFECYCLE_MAX_MESSAGE_BYTES");
        return Request::Reject(Reject::new(Reason::TooLarge, error));
    }
    match decode(delivery.body(), &delivery.envelope()) {
        Err(reject) => Request::Reject(reject),
        Ok(message) => match decide(&message) {
            Decision::Delete(end) => Request::End(end),
            Decision::Ignore => Request::Ignore { occurred_at: message.occurred_at },
        },
    }
}
