use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::death::Death;
use crate::broker::headers;
use crate::broker::topology::names::{BACK_TO_WORK, Topology};
use crate::message::Reason;

/// A dead letter as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// From the property, or else from the body.
    pub message_id: Option<String>,
    /// Why it was dead-lettered.
    pub reason: Option<String>,
    /// What went wrong, for a person.
    pub error: Option<String>,
    /// From the body, where it can be read.
    pub event_id: Option<String>,
    /// From the body, where it can be read.
    pub team_id: Option<String>,
    /// From the body, where it can be read.
    pub status: Option<String>,
    /// RFC 3339.
    pub dead_lettered_at: Option<String>,
    /// How often it was replayed.
    pub replay_count: u32,
    /// Which attempt failed.
    pub attempt: u32,
    /// The exchange it was first published to.
    pub exchange: String,
    /// The routing key it was first published with.
    pub routing_key: String,
    /// Bytes of the body.
    pub size: usize,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl DeadLetter {
    /// Reads a letter, and decides which headers to believe.
    ///
    /// A message that RabbitMQ itself dead-lettered still has every header that its publisher gave it. Of those only the count of replays
    /// is believed, which a publisher can only raise, to the disadvantage of its own message. The headers of a message that came out of
    /// a wait queue were written by the worker. `x-death` is the broker's, but up to 3.13 a publisher may write an entry beforehand, of
    /// which the broker keeps the exchange: so such a message is taken for one of the backend's exchange.
    pub(in crate::broker) fn read(delivery: &lapin::message::Delivery, topology: &Topology) -> Self {
        let properties = &delivery.properties;
        let came = properties.headers().as_ref();
        // The broker says nothing of letters that the worker published. It does of what somebody moved here through another queue.
        let brokers = Death::read(came).filter(|death| topology.has_queue(&death.queue));
        let from_wait_queue = delivery.routing_key.as_str() == BACK_TO_WORK;
        let believed = came.filter(|_| brokers.is_none() || from_wait_queue);
        let body: BodyFields = serde_json::from_slice(&delivery.data).unwrap_or_default();
        Self {
            message_id: properties.message_id().as_ref().map(ToString::to_string).or_else(|| text(body.message_id)),
            reason: match &brokers {
                Some(death) => Some(death.reason.clone()),
                None => headers::text(came, headers::REASON),
            },
            error: match &brokers {
                Some(death) if death.reason == Reason::DeliveryLimit.as_str() => {
                    Some("delivered too often without an acknowledgement; does it crash the worker?".to_owned())
                }
                Some(death) => Some(format!("RabbitMQ itself dead-lettered it ({})", death.reason)),
                None => headers::text(came, headers::ERROR),
            },
            event_id: text(body.event_id),
            team_id: text(body.team_id),
            status: text(body.status),
            dead_lettered_at: match &brokers {
                Some(death) => death.at.and_then(rfc3339),
                None => headers::text(came, headers::DEAD_LETTERED_AT),
            },
            replay_count: headers::count(came, headers::REPLAY_COUNT).unwrap_or_default(),
            attempt: headers::count(believed, headers::ATTEMPT).unwrap_or(1),
            exchange: match &brokers {
                Some(_) => topology.exchange().to_owned(),
                None => headers::text(came, headers::EXCHANGE).unwrap_or_else(|| delivery.exchange.to_string()),
            },
            routing_key: headers::text(believed, headers::ROUTING_KEY)
                .unwrap_or_else(|| delivery.routing_key.to_string()),
            size: delivery.data.len(),
            body: String::from_utf8_lossy(&delivery.data).into_owned(),
        }
    }

    /// When it was dead-lettered, where that can be read.
    #[must_use]
    pub fn at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.dead_lettered_at.as_deref()?, &Rfc3339).ok()
    }

    /// A fingerprint: equal each time that one program reads the same letter.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.message_id, &self.reason, &self.dead_lettered_at, self.replay_count, &self.body).hash(&mut hasher);
        hasher.finish()
    }
}

/// The fields of a body that may be anything.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct BodyFields {
    message_id: Option<Box<RawValue>>,
    event_id: Option<Box<RawValue>>,
    team_id: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

fn text(value: Option<Box<RawValue>>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

fn rfc3339(seconds: u64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;
    use crate::config::TopologyMode;

    fn topology() -> Topology {
        Topology::new("backend".to_owned(), "work".to_owned(), TopologyMode::Declare)
    }

    fn read(key: &str, headers: FieldTable, body: &str) -> DeadLetter {
        let came = Delivery::mock(1, "elsewhere".into(), key.into(), false, body.into());
        let properties = BasicProperties::default().with_headers(headers);
        DeadLetter::read(&Delivery { properties, ..came }, &topology())
    }

    fn text(table: &mut FieldTable, name: &str, value: &str) {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }

    /// Headers with a publisher's own, of a message that RabbitMQ took out of the work queue.
    fn dead_lettered_by_the_broker(reason: &str) -> FieldTable {
        let (mut headers, mut death) = (FieldTable::default(), FieldTable::default());
        text(&mut death, "queue", "work");
        text(&mut death, "reason", reason);
        headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
        headers.insert(headers::ATTEMPT.into(), AMQPValue::LongLongInt(4));
        text(&mut headers, headers::ROUTING_KEY, "first");
        headers
    }

    #[test]
    fn what_the_broker_dead_lettered_is_believed_only_from_a_wait_queue() {
        let of = |key| {
            let letter = read(key, dead_lettered_by_the_broker("expired"), "");
            (letter.exchange, letter.routing_key, letter.attempt)
        };
        let backend = topology().exchange().to_owned();
        assert_eq!(of("event.status.lead"), (backend.clone(), "event.status.lead".to_owned(), 1));
        assert_eq!(of(BACK_TO_WORK), (backend, "first".to_owned(), 4));
        let mut ours = FieldTable::default();
        text(&mut ours, headers::ROUTING_KEY, "first");
        assert_eq!(read("event.status.lead", ours, "").routing_key, "first", "it says nothing of the broker");
    }

    #[test]
    fn too_many_deliveries_are_told_apart_from_the_brokers_other_reasons() {
        let error = |reason| read("key", dead_lettered_by_the_broker(reason), "").error.unwrap();
        assert!(error("delivery_limit").contains("crash the worker"), "{}", error("delivery_limit"));
        assert!(error("maxlen").ends_with("(maxlen)"), "{}", error("maxlen"));
    }

    #[test]
    fn ids_and_status_are_the_bodys_where_they_are_text() {
        let body = r#"{"message_id":"m","event_id":"e","team_id":7,"status":"lead"}"#;
        let letter = read("key", FieldTable::default(), body);
        let shown = [&letter.message_id, &letter.event_id, &letter.team_id, &letter.status];
        assert_eq!(shown.map(Option::as_deref), [Some("m"), Some("e"), None, Some("lead")]);
    }

    #[test]
    fn fingerprints_differ_where_letters_do() {
        let of = |body| read("key", FieldTable::default(), body).fingerprint();
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
    }
}
