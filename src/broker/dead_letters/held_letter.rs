use lapin::message::Delivery;
use lapin::types::FieldTable;
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::DeadLetter;
use crate::broker::headers;
use crate::broker::publish::frame_fit::fit_into_frame;
use crate::broker::publish::outgoing::MAX_NAME_BYTES;
use crate::broker::publish::outgoing::Outgoing;
use crate::broker::publish::republish::{republished, set_error, shortened, to_the_millisecond};
use crate::broker::topology::names::Topology;
use crate::message::{Envelope, EventStatus, Reason};

/// The header with the id of the message that an edited one replaces.
const REPLACES: &str = "lifecycle-replaces";
/// The headers that were written when the message failed, which a replay drops. The count of replays stays.
const OF_THE_FAILURE: [&str; 6] = [
    headers::REASON,
    headers::ERROR,
    headers::ATTEMPT,
    headers::DEAD_LETTERED_AT,
    headers::EXCHANGE,
    headers::ROUTING_KEY,
];

/// A dead letter that is held unacknowledged: removed by [`DeadLetterQueue::remove`](super::queue::DeadLetterQueue::remove), or else it
/// returns to its place in the queue.
pub struct HeldLetter {
    /// As it is shown.
    pub letter: DeadLetter,
    pub(super) delivery: Delivery,
}

impl HeldLetter {
    /// The bytes as they came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// The message as it first came, to where it was first published, with one more replay counted.
    #[must_use]
    pub fn replay(&self, topology: &Topology) -> Outgoing {
        let (exchange, routing_key) = self.origin(topology);
        Outgoing {
            exchange,
            routing_key,
            properties: republished(&self.delivery.properties, self.headers_of_replay()),
            body: self.delivery.data.clone(),
        }
    }

    /// The properties that describe a body.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            timestamp: *self.delivery.properties.timestamp(),
            ..Envelope::default() // without an id: the new message has its own
        }
    }

    /// A new message with another body in place of this one; its header `lifecycle-replaces` names the old one's id.
    #[must_use]
    pub fn replay_edited(&self, topology: &Topology, routing_key: String, message_id: Uuid, body: Vec<u8>) -> Outgoing {
        let mut headers = self.headers_of_replay();
        if let Some(old) = &self.letter.message_id {
            headers::set_text(&mut headers, REPLACES, shortened(old));
        }
        Outgoing {
            exchange: self.origin(topology).0,
            routing_key,
            properties: republished(&self.delivery.properties, headers).with_message_id(message_id.to_string().into()),
            body,
        }
    }

    /// The same letter, marked as replayed too often.
    #[must_use]
    pub fn marked(&self, topology: &Topology, now: OffsetDateTime) -> Outgoing {
        let mut headers = headers::without_the_brokers(self.delivery.properties.headers().as_ref());
        let count = self.letter.replay_count;
        let why = self.letter.reason.as_deref().unwrap_or("unknown");
        let error = self.letter.error.as_deref().unwrap_or_default();
        let error = format!("replayed {count} times, the last failure was {why}: {error}");
        headers::set_text(&mut headers, headers::REASON, Reason::ReplayedTooOften.as_str());
        set_error(&mut headers, &error);
        headers::set_text(&mut headers, headers::DEAD_LETTERED_AT, &to_the_millisecond(now));
        let (exchange, routing_key) = self.origin(topology);
        headers::set_text(&mut headers, headers::EXCHANGE, &exchange);
        headers::set_text(&mut headers, headers::ROUTING_KEY, &routing_key);
        Outgoing {
            exchange: topology.dead_letter_exchange(),
            routing_key,
            properties: republished(&self.delivery.properties, headers),
            body: self.delivery.data.clone(),
        }
    }

    fn headers_of_replay(&self) -> FieldTable {
        let headers = headers::without_the_brokers(self.delivery.properties.headers().as_ref());
        let mut kept = FieldTable::default();
        for (name, value) in headers.inner() {
            if !OF_THE_FAILURE.contains(&name.as_str()) {
                kept.insert(name.clone(), value.clone());
            }
        }
        headers::set_count(&mut kept, headers::REPLAY_COUNT, self.letter.replay_count.saturating_add(1));
        if let Some(left_out) = fit_into_frame(&mut kept) {
            tracing::warn!(message_id = self.letter.message_id, "{left_out}");
        }
        kept
    }

    /// Never an exchange of the worker's own: a letter that somebody published there by hand, or that a shovel moved through the default
    /// exchange, names no origin, and belongs to the backend's exchange.
    fn origin(&self, topology: &Topology) -> (String, String) {
        let first = &self.letter.exchange;
        let ours = [topology.dead_letter_exchange(), topology.retry_exchange(), String::new()];
        let key = &self.letter.routing_key;
        if ours.contains(first) || first.len() > MAX_NAME_BYTES {
            let status = self.letter.status.as_deref().and_then(|status| status.parse::<EventStatus>().ok());
            let status = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
            return (topology.exchange().to_owned(), format!("event.status.{status}"));
        }
        (first.clone(), key[..key.floor_char_boundary(MAX_NAME_BYTES)].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;
    use crate::config::TopologyMode;

    #[test]
    fn letter_goes_back_to_the_exchange_that_it_names_unless_that_can_be_none_of_the_backends() {
        let topology = Topology::new("backend".to_owned(), "work".to_owned(), TopologyMode::Declare);
        let origin = |exchange: &str| {
            let mut came = FieldTable::default();
            headers::set_text(&mut came, headers::EXCHANGE, exchange);
            headers::set_text(&mut came, headers::ROUTING_KEY, "key");
            let properties = BasicProperties::default().with_headers(came);
            let delivery =
                Delivery::mock(1, topology.dead_letter_exchange().as_str().into(), "key".into(), false, vec![]);
            let delivery = Delivery { properties, ..delivery };
            HeldLetter { letter: DeadLetter::read(&delivery, &topology), delivery }.origin(&topology)
        };
        let longest = "x".repeat(MAX_NAME_BYTES);
        assert_eq!(origin(&longest), (longest.clone(), "key".to_owned()));
        for other in [format!("{longest}x"), topology.dead_letter_exchange(), topology.retry_exchange(), String::new()]
        {
            assert_eq!(origin(&other), ("backend".to_owned(), "event.status.unknown".to_owned()), "{other}");
        }
    }
}
