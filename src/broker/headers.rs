//! The headers of a message: ours, the broker's, and those of the application.

use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::message::TraceContext;

pub(super) const REASON: &str = "lifecycle-reason";
pub(super) const ERROR: &str = "lifecycle-error";
pub(super) const ATTEMPT: &str = "lifecycle-attempt";
pub(super) const REPLAY_COUNT: &str = "lifecycle-replay-count";
pub(super) const DEAD_LETTERED_AT: &str = "lifecycle-dead-lettered-at";
pub(super) const EXCHANGE: &str = "lifecycle-exchange";
pub(super) const ROUTING_KEY: &str = "lifecycle-routing-key";
/// Of the W3C; see [`TraceContext`].
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Headers with a meaning for the broker. A message that is published again must not carry them: up to 3.13 the broker would go on
/// counting in them, and `CC` and `BCC` would send copies.
const OF_THE_BROKER: [&str; 12] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "x-acquired-count",
    "x-opt-rabbitmq-delivery-time",
    "CC",
    "BCC",
];

const OURS: [&str; 7] = [REASON, ERROR, ATTEMPT, REPLAY_COUNT, DEAD_LETTERED_AT, EXCHANGE, ROUTING_KEY];
/// Neither our headers nor the broker's are larger unless a publisher has written them.
pub(super) const MAX_ESSENTIAL_BYTES: usize = 4096;

/// The headers without the broker's own.
pub(super) fn without_the_brokers(headers: Option<&FieldTable>) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in headers.into_iter().flat_map(FieldTable::inner) {
        if !OF_THE_BROKER.contains(&name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// The headers without the broker's own and without those that we write ourselves.
pub(super) fn without_the_brokers_and_ours(headers: Option<&FieldTable>) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in headers.into_iter().flat_map(FieldTable::inner) {
        if !is_essential(name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// A text header.
pub(super) fn text(headers: Option<&FieldTable>, name: &str) -> Option<String> {
    match headers?.inner().get(name)? {
        AMQPValue::LongString(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        AMQPValue::ShortString(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A count. Clients send the same integer as different AMQP types; a negative or absurd number is no count.
pub(super) fn count(headers: Option<&FieldTable>, name: &str) -> Option<u32> {
    let count = match headers?.inner().get(name)? {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    };
    u32::try_from(count).ok()
}

/// Where a message comes from, if its headers say so in the standard's form.
pub(super) fn trace_context(headers: Option<&FieldTable>) -> Option<TraceContext> {
    let context: TraceContext = text(headers, TRACEPARENT)?.parse().ok()?;
    Some(match text(headers, TRACESTATE) {
        Some(state) => context.with_state(&state),
        None => context,
    })
}

/// Sets the headers that say where a message comes from.
pub(super) fn set_trace_context(headers: &mut FieldTable, context: &TraceContext) {
    set_text(headers, TRACEPARENT, &context.to_string());
    if let Some(state) = context.state() {
        set_text(headers, TRACESTATE, state);
    }
}

/// Sets a text header.
pub(super) fn set_text(headers: &mut FieldTable, name: &'static str, value: &str) {
    headers.insert(ShortString::from(name), AMQPValue::LongString(value.into()));
}

/// Sets a count.
pub(super) fn set_count(headers: &mut FieldTable, name: &'static str, value: u32) {
    headers.insert(ShortString::from(name), AMQPValue::LongLongInt(value.into()));
}

/// Whether a header is one of ours or the broker's: they say where a message came from and what happened to it.
pub(super) fn is_essential(name: &str) -> bool {
    OURS.contains(&name) || OF_THE_BROKER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_every_integer_type() {
        let values = [
            AMQPValue::ShortShortInt(3),
            AMQPValue::ShortShortUInt(3),
            AMQPValue::ShortInt(3),
            AMQPValue::ShortUInt(3),
            AMQPValue::LongInt(3),
            AMQPValue::LongUInt(3),
            AMQPValue::LongLongInt(3),
        ];
        for value in values {
            let mut headers = FieldTable::default();
            headers.insert(ATTEMPT.into(), value);
            assert_eq!(count(Some(&headers), ATTEMPT), Some(3));
        }
    }

    #[test]
    fn senseless_counts_are_none() {
        for value in [
            AMQPValue::LongLongInt(-1),
            AMQPValue::LongLongInt(i64::MAX),
            AMQPValue::Boolean(true),
            AMQPValue::LongString("3".into()),
        ] {
            let mut headers = FieldTable::default();
            headers.insert(ATTEMPT.into(), value);
            assert_eq!(count(Some(&headers), ATTEMPT), None);
        }
    }

    #[test]
    fn trace_context_is_read_as_it_was_written_and_nonsense_is_none() {
        let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        for context in [context.clone(), context.with_state("vendor=a")] {
            let mut headers = FieldTable::default();
            set_trace_context(&mut headers, &context);
            assert_eq!(trace_context(Some(&headers)), Some(context));
        }
        for value in [AMQPValue::LongString("00-trace-01".into()), AMQPValue::LongLongInt(1)] {
            let mut headers = FieldTable::default();
            headers.insert(TRACEPARENT.into(), value);
            assert_eq!(trace_context(Some(&headers)), None);
        }
    }

    #[test]
    fn only_the_brokers_headers_are_dropped() {
        let mut headers = FieldTable::default();
        for name in OF_THE_BROKER.iter().chain(&[TRACEPARENT, REPLAY_COUNT]) {
            headers.insert((*name).into(), AMQPValue::Boolean(true));
        }
        let kept = without_the_brokers(Some(&headers));
        let names: Vec<_> = kept.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, [REPLAY_COUNT, TRACEPARENT]);
    }
}
