//! A table of AMQP's as JSON: headers of a message, arguments of a queue. Bytes that are not UTF-8 are replaced.

use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

pub(super) fn table_json(from: &FieldTable) -> Map<String, Value> {
    from.inner().iter().map(|(name, of)| (name.to_string(), value(of))).collect()
}

fn value(from: &AMQPValue) -> Value {
    match from {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::DecimalValue(decimal) => json!({ "scale": decimal.scale, "value": decimal.value }),
        AMQPValue::ShortString(text) => json!(text.as_str()),
        AMQPValue::LongString(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value).collect(),
        AMQPValue::Timestamp(seconds) => json!(seconds),
        AMQPValue::FieldTable(of) => Value::Object(table_json(of)),
        AMQPValue::ByteArray(bytes) => json!(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}
