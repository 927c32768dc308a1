use lapin::types::{AMQPValue, FieldTable};

use crate::broker::headers::text;

/// Why and from which queue the broker itself dead-lettered a message, by the newest entry of `x-death`.
pub(super) struct Death {
    pub(super) queue: String,
    /// `delivery_limit`, `expired`, `maxlen`, `rejected`.
    pub(super) reason: String,
    /// Seconds since 1970.
    pub(super) at: Option<u64>,
}

impl Death {
    /// `None` for a message that the broker has not dead-lettered.
    pub(super) fn read(headers: Option<&FieldTable>) -> Option<Self> {
        let AMQPValue::FieldArray(deaths) = headers?.inner().get("x-death")? else {
            return None;
        };
        let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else {
            return None;
        };
        let at = match death.inner().get("time") {
            Some(AMQPValue::Timestamp(seconds)) => Some(*seconds),
            _ => None,
        };
        Some(Self { queue: text(Some(death), "queue")?, reason: text(Some(death), "reason")?, at })
    }
}
