//! Messages that go on elsewhere: to the dead-letter queue, or into a wait queue for another try.

use lapin::BasicProperties;
use lapin::types::FieldTable;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::outgoing::{Outgoing, PERSISTENT};
use crate::broker::consume::delivery::Delivery;
use crate::broker::headers;
use crate::broker::topology::names::Topology;
use crate::message::Reject;
use crate::policy::DELAYS;

/// The broker refuses a frame of headers that does not fit; a text for a person need not be longer.
const LONGEST_ERROR: usize = 500;
/// AMQP's limit for names of exchanges and routing keys.
pub(in crate::broker) const LONGEST_NAME: usize = 255;

/// The letter for a message that failed for good: body and application headers as they came, and why it is here.
#[must_use]
pub fn dead_letter(topology: &Topology, delivery: &Delivery, reject: &Reject, now: OffsetDateTime) -> Outgoing {
    let (mut headers, routing_key) = headers_with_origin(topology, delivery);
    headers::set_text(&mut headers, headers::REASON, reject.reason.as_str());
    set_error(&mut headers, &reject.error);
    headers::set_count(&mut headers, headers::ATTEMPT, delivery.attempt(topology));
    headers::set_text(&mut headers, headers::DEAD_LETTERED_AT, &to_the_millisecond(now));
    Outgoing {
        exchange: topology.dead_letter_exchange(),
        routing_key,
        properties: republished(&delivery.properties, headers),
        body: delivery.body().to_vec(),
    }
}

/// The same message, to come back after the delay. `failed`: attempts that count.
#[must_use]
pub fn wait_for_retry(topology: &Topology, delivery: &Delivery, delay: usize, failed: u32, error: &str) -> Outgoing {
    let (mut headers, _) = headers_with_origin(topology, delivery);
    headers::set_count(&mut headers, headers::ATTEMPT, failed);
    set_error(&mut headers, error);
    Outgoing {
        exchange: topology.retry_exchange(),
        routing_key: DELAYS[delay].0.to_owned(),
        properties: republished(&delivery.properties, headers),
        body: delivery.body().to_vec(),
    }
}

/// The text for a person, and what had to be left out for the letter to be sent at all.
pub(in crate::broker) fn set_error(headers: &mut FieldTable, error: &str) {
    let left_out = headers::fit(headers).map(|left_out| format!("; {left_out}")).unwrap_or_default();
    headers::set_text(headers, headers::ERROR, &format!("{}{}", shortened(error), shortened(&left_out)));
}

/// Headers that say where the message first came from, and its first routing key. One that comes out of a wait queue says
/// so itself; nobody else is believed.
fn headers_with_origin(topology: &Topology, delivery: &Delivery) -> (FieldTable, String) {
    let came = delivery.properties.headers().as_ref();
    let mut kept = headers::without_the_brokers_and_ours(came);
    let from_wait_queue = delivery.exchange == topology.retry_exchange();
    let first = |name, now: &String| {
        headers::text(came, name)
            .filter(|text| from_wait_queue && text.len() <= LONGEST_NAME)
            .unwrap_or_else(|| now.clone())
    };
    let exchange = first(headers::EXCHANGE, &delivery.exchange);
    let routing_key = first(headers::ROUTING_KEY, &delivery.routing_key);
    headers::set_text(&mut kept, headers::EXCHANGE, &exchange);
    headers::set_text(&mut kept, headers::ROUTING_KEY, &routing_key);
    let replays = headers::count(came, headers::REPLAY_COUNT).unwrap_or_default();
    headers::set_count(&mut kept, headers::REPLAY_COUNT, replays);
    (kept, routing_key)
}

/// The application's properties. Not `expiration`, which would delete the letter; not `user_id`, which the broker compares
/// with our own user and closes the channel; and persistent whatever it was.
pub(in crate::broker) fn republished(came: &BasicProperties, headers: FieldTable) -> BasicProperties {
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    if let Some(value) = came.content_type() {
        properties = properties.with_content_type(value.clone());
    }
    if let Some(value) = came.content_encoding() {
        properties = properties.with_content_encoding(value.clone());
    }
    if let Some(value) = came.priority() {
        properties = properties.with_priority(*value);
    }
    if let Some(value) = came.correlation_id() {
        properties = properties.with_correlation_id(value.clone());
    }
    if let Some(value) = came.reply_to() {
        properties = properties.with_reply_to(value.clone());
    }
    if let Some(value) = came.message_id() {
        properties = properties.with_message_id(value.clone());
    }
    if let Some(value) = came.timestamp() {
        properties = properties.with_timestamp(*value);
    }
    if let Some(value) = came.kind() {
        properties = properties.with_type(value.clone());
    }
    if let Some(value) = came.app_id() {
        properties = properties.with_app_id(value.clone());
    }
    properties
}

/// Nobody reads nanoseconds.
pub(in crate::broker) fn to_the_millisecond(at: OffsetDateTime) -> String {
    at.truncate_to_millisecond().format(&Rfc3339).unwrap_or_default()
}

pub(in crate::broker) fn shortened(error: &str) -> &str {
    &error[..error.floor_char_boundary(LONGEST_ERROR)]
}
