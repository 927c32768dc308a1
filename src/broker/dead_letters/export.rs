use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::held_letter::HeldLetter;
use super::read::DeadLetter;
use crate::broker::table_json::table_json;

/// A dead letter with everything it consists of.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedLetter {
    /// As `dlq list` shows it.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The AMQP properties that are set, without the headers.
    pub properties: Map<String, Value>,
    /// The headers, with the broker's own but without its count of deliveries, which each `dlq` command raises. Bytes that are not UTF-8
    /// are replaced.
    pub headers: Map<String, Value>,
    /// The body where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl From<&HeldLetter> for ExportedLetter {
    fn from(held: &HeldLetter) -> Self {
        let from = &held.delivery.properties;
        let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(|value| json!(value.as_str()));
        let mut headers = from.headers().as_ref().map(table_json).unwrap_or_default();
        for count in ["x-delivery-count", "x-acquired-count"] {
            headers.remove(count);
        }
        let properties = [
            ("content_type", text(from.content_type())),
            ("content_encoding", text(from.content_encoding())),
            ("delivery_mode", from.delivery_mode().map(Value::from)),
            ("priority", from.priority().map(Value::from)),
            ("correlation_id", text(from.correlation_id())),
            ("reply_to", text(from.reply_to())),
            ("expiration", text(from.expiration())),
            ("message_id", text(from.message_id())),
            ("timestamp", from.timestamp().map(Value::from)),
            ("type", text(from.kind())),
            ("user_id", text(from.user_id())),
            ("app_id", text(from.app_id())),
        ];
        Self {
            letter: held.letter.clone(),
            properties: properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
            headers,
            body_base64: std::str::from_utf8(held.body()).is_err().then(|| BASE64_STANDARD.encode(held.body())),
        }
    }
}
