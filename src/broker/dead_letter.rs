use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::headers;
use crate::message::Reason;

/// One dead letter as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The property, or the body's field.
    pub message_id: Option<String>,
    /// Why it is here.
    pub reason: Option<String>,
    /// The text for a person.
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
    /// Where it first came from.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// Bytes of the body.
    pub size: usize,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl DeadLetter {
    pub(super) fn read(delivery: &lapin::message::Delivery) -> Self {
        let properties = &delivery.properties;
        let came = properties.headers().as_ref();
        let death = headers::death(came);
        // What an earlier attempt left in the headers is not why it is here. A letter of ours has no such header of the broker's.
        let limit = death.as_ref().filter(|death| death.reason == Reason::DeliveryLimit.as_str());
        let brokers = limit.or_else(|| death.as_ref().filter(|_| headers::text(came, headers::REASON).is_none()));
        let body: BodyFields = serde_json::from_slice(&delivery.data).unwrap_or_default();
        Self {
            message_id: properties.message_id().as_ref().map(ToString::to_string).or_else(|| text(body.message_id)),
            reason: match brokers {
                Some(death) => Some(death.reason.clone()),
                None => headers::text(came, headers::REASON),
            },
            error: match (limit, brokers) {
                (Some(_), _) => {
                    Some("delivered too often without an acknowledgement; does it crash the worker?".to_owned())
                }
                (None, Some(death)) => Some(format!("RabbitMQ itself dead-lettered it ({})", death.reason)),
                (None, None) => headers::text(came, headers::ERROR),
            },
            event_id: text(body.event_id),
            team_id: text(body.team_id),
            status: text(body.status),
            dead_lettered_at: match brokers {
                Some(death) => death.at.and_then(rfc3339),
                None => headers::text(came, headers::DEAD_LETTERED_AT),
            },
            replay_count: headers::count(came, headers::REPLAY_COUNT).unwrap_or_default(),
            attempt: headers::count(came, headers::ATTEMPT).unwrap_or(1),
            exchange: headers::text(came, headers::EXCHANGE)
                .or_else(|| brokers?.exchange.clone())
                .unwrap_or_else(|| delivery.exchange.to_string()),
            routing_key: headers::text(came, headers::ROUTING_KEY)
                .or_else(|| brokers?.routing_key.clone())
                .unwrap_or_else(|| delivery.routing_key.to_string()),
            size: delivery.data.len(),
            body: String::from_utf8_lossy(&delivery.data).into_owned(),
        }
    }

    /// When it became a dead letter, where that can be read.
    #[must_use]
    pub fn at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.dead_lettered_at.as_deref()?, &Rfc3339).ok()
    }

    /// A number that differs between letters that differ; the same for the same letter at each look of one program.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.message_id, &self.reason, &self.dead_lettered_at, self.replay_count, &self.body).hash(&mut hasher);
        hasher.finish()
    }
}

/// What can be read of a body that may be anything.
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
