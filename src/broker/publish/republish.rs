//! Copies of a delivery: a dead letter, or a retry copy that comes back after its delay.

use lapin::BasicProperties;
use lapin::types::FieldTable;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::frame_fit::fit_into_frame;
use super::outgoing::{MAX_NAME_BYTES, Outgoing, PERSISTENT};
use crate::broker::consume::delivery::Delivery;
use crate::broker::headers;
use crate::broker::topology::names::Topology;
use crate::message::Reject;
use crate::policy::DELAYS;

/// Headers must fit into a frame; a text for a person need not be longer.
const MAX_ERROR_BYTES: usize = 500;

/// The dead letter of a message: body and application headers as they came, with the reason.
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

/// The retry copy of a message, which comes back after the delay. `failed`: attempts that count.
#[must_use]
pub fn retry_copy(topology: &Topology, delivery: &Delivery, delay: usize, failed: u32, error: &str) -> Outgoing {
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

/// Sets the text for a person, with the names of the headers that did not fit.
pub(in crate::broker) fn set_error(headers: &mut FieldTable, error: &str) {
    let left_out = fit_into_frame(headers).map(|left_out| format!("; {left_out}")).unwrap_or_default();
    headers::set_text(headers, headers::ERROR, &format!("{}{}", shortened(error), shortened(&left_out)));
}

/// The headers with the exchange and routing key that the message was first published with, and that routing key. A message from a wait
/// queue has them already; no other is believed.
fn headers_with_origin(topology: &Topology, delivery: &Delivery) -> (FieldTable, String) {
    let came = delivery.properties.headers().as_ref();
    let mut kept = headers::without_the_brokers_and_ours(came);
    let from_wait_queue = delivery.exchange == topology.retry_exchange();
    let first = |name, now: &String| {
        headers::text(came, name)
            .filter(|text| from_wait_queue && text.len() <= MAX_NAME_BYTES)
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

/// The application's properties. Without `expiration`, which would delete the copy; without `user_id`, which the broker compares with
/// our own user and closes the channel; and persistent in any case.
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

/// RFC 3339 without micro- and nanoseconds, which nobody reads.
pub(in crate::broker) fn to_the_millisecond(at: OffsetDateTime) -> String {
    at.truncate_to_millisecond().format(&Rfc3339).unwrap_or_default()
}

pub(in crate::broker) fn shortened(error: &str) -> &str {
    &error[..error.floor_char_boundary(MAX_ERROR_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopologyMode;

    #[test]
    fn exchange_of_the_first_publishing_is_believed_of_what_comes_out_of_a_wait_queue_only() {
        let topology = Topology::new("backend".to_owned(), "work".to_owned(), TopologyMode::Declare);
        let origin = |came_through: &str, claimed: &str| {
            let mut came = FieldTable::default();
            headers::set_text(&mut came, headers::EXCHANGE, claimed);
            let properties = BasicProperties::default().with_headers(came);
            let delivery = lapin::message::Delivery::mock(1, came_through.into(), "key".into(), false, Vec::new());
            let delivery = Delivery::from_lapin(lapin::message::Delivery { properties, ..delivery });
            let (kept, routing_key) = headers_with_origin(&topology, &delivery);
            assert_eq!(routing_key, "key");
            headers::text(Some(&kept), headers::EXCHANGE)
        };
        let (retry, longest) = (topology.retry_exchange(), "x".repeat(MAX_NAME_BYTES));
        assert_eq!(origin("backend", "forged").as_deref(), Some("backend"));
        assert_eq!(origin(&retry, &longest), Some(longest.clone()));
        assert_eq!(origin(&retry, &format!("{longest}x")), Some(retry.clone()), "no exchange has such a name");
    }
}
