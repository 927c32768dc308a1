//! What a dead letter becomes when it is sent on.

use lapin::types::FieldTable;
use time::OffsetDateTime;
use uuid::Uuid;

use super::letter::{LONGEST_NAME, republished, shortened, to_the_millisecond};
use super::{HeldLetter, Outgoing, Topology, headers};
use crate::message::Reason;

/// The message that an edited one stands for.
const REPLACES: &str = "lifecycle-replaces";
/// What we wrote when the message failed; begun anew by a replay. The count of replays stays.
const OF_THE_FAILURE: [&str; 6] = [
    headers::REASON,
    headers::ERROR,
    headers::ATTEMPT,
    headers::DEAD_LETTERED_AT,
    headers::EXCHANGE,
    headers::ROUTING_KEY,
];

impl HeldLetter {
    /// The message as it first came, to where it first came, replayed once more.
    #[must_use]
    pub fn replay(&self, topology: &Topology) -> Outgoing {
        Outgoing {
            exchange: self.first_exchange(topology),
            routing_key: self.first_routing_key(),
            properties: republished(&self.delivery.properties, self.headers_of_replay()),
            body: self.delivery.data.clone(),
        }
    }

    /// A new message with another body in place of this one: its `lifecycle-replaces` names the old one's id.
    #[must_use]
    pub fn replay_edited(&self, topology: &Topology, routing_key: String, message_id: Uuid, body: Vec<u8>) -> Outgoing {
        let mut headers = self.headers_of_replay();
        if let Some(old) = &self.letter.message_id {
            headers::set_text(&mut headers, REPLACES, shortened(old));
        }
        Outgoing {
            exchange: self.first_exchange(topology),
            routing_key,
            properties: republished(&self.delivery.properties, headers).with_message_id(message_id.to_string().into()),
            body,
        }
    }

    /// The letter again, marked as replayed too often.
    #[must_use]
    pub fn marked(&self, topology: &Topology, now: OffsetDateTime) -> Outgoing {
        let mut headers = headers::without_the_brokers(self.delivery.properties.headers().as_ref());
        let count = self.letter.replay_count;
        let why = self.letter.reason.as_deref().unwrap_or("unknown");
        let error = self.letter.error.as_deref().unwrap_or_default();
        let error = format!("replayed {count} times, the last failure was {why}: {error}");
        headers::set_text(&mut headers, headers::REASON, Reason::ReplayedTooOften.as_str());
        headers::set_text(&mut headers, headers::ERROR, shortened(&error));
        headers::set_text(&mut headers, headers::DEAD_LETTERED_AT, &to_the_millisecond(now));
        headers::set_text(&mut headers, headers::EXCHANGE, &self.first_exchange(topology));
        headers::set_text(&mut headers, headers::ROUTING_KEY, &self.first_routing_key());
        Outgoing {
            exchange: topology.dead_letter_exchange(),
            routing_key: self.first_routing_key(),
            properties: republished(&self.delivery.properties, headers),
            body: self.delivery.data.clone(),
        }
    }

    fn headers_of_replay(&self) -> FieldTable {
        let came = headers::without_the_brokers(self.delivery.properties.headers().as_ref());
        let mut kept = FieldTable::default();
        for (name, value) in came.inner() {
            if !OF_THE_FAILURE.contains(&name.as_str()) {
                kept.insert(name.clone(), value.clone());
            }
        }
        headers::set_count(&mut kept, headers::REPLAY_COUNT, self.letter.replay_count.saturating_add(1));
        kept
    }

    /// Never into our own machinery: a letter that somebody put there by hand names no origin, and belongs to the exchange
    /// of the backend.
    fn first_exchange(&self, topology: &Topology) -> String {
        let first = &self.letter.exchange;
        let ours = [topology.dead_letter_exchange(), topology.retry_exchange(), String::new()];
        if ours.contains(first) || first.len() > LONGEST_NAME { topology.exchange().to_owned() } else { first.clone() }
    }

    fn first_routing_key(&self) -> String {
        let key = &self.letter.routing_key;
        key[..key.floor_char_boundary(LONGEST_NAME)].to_owned()
    }
}
