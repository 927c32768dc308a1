use std::collections::BTreeMap;

use lapin::types::{AMQPValue, FieldTable, ShortString};

pub(super) const REASON: &str = "lifecycle-reason";
pub(super) const ERROR: &str = "lifecycle-error";
pub(super) const ATTEMPT: &str = "lifecycle-attempt";
pub(super) const REPLAY_COUNT: &str = "lifecycle-replay-count";
pub(super) const DEAD_LETTERED_AT: &str = "lifecycle-dead-lettered-at";
pub(super) const EXCHANGE: &str = "lifecycle-exchange";
pub(super) const ROUTING_KEY: &str = "lifecycle-routing-key";

/// What the broker wrote into the headers. A message published again must not carry it: up to 3.13 the broker would go
/// on counting in it, and `CC` and `BCC` would send copies.
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

/// A count; clients send the same integer as different AMQP types. Negative or absurd counts are none.
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

/// Sets a text header.
pub(super) fn set_text(headers: &mut FieldTable, name: &'static str, value: &str) {
    headers.insert(ShortString::from(name), AMQPValue::LongString(value.into()));
}

/// Sets a count.
pub(super) fn set_count(headers: &mut FieldTable, name: &'static str, value: u32) {
    headers.insert(ShortString::from(name), AMQPValue::LongLongInt(value.into()));
}

/// Headers and the other properties must fit into one frame, of 128 KiB unless the broker is set otherwise (AMQP 0-9-1, 4.2.6). This
/// much leaves room for the others and for ours.
const MOST_BYTES: usize = 120 * 1024;

/// Headers of ours.
const OURS: [&str; 7] = [REASON, ERROR, ATTEMPT, REPLAY_COUNT, DEAD_LETTERED_AT, EXCHANGE, ROUTING_KEY];
/// Neither ours nor the broker's are larger unless a publisher has written them.
pub(super) const LARGEST_ESSENTIAL: usize = 4096;

/// Whether a header says where a message came from and what became of it: ours or the broker's.
pub(super) fn is_essential(name: &str) -> bool {
    OURS.contains(&name) || OF_THE_BROKER.contains(&name)
}

/// Dropped headers that are named.
const NAMED: usize = 5;

/// Drops the largest headers of the application until the rest fits, and says which. The message itself came with all of
/// them; with ours added the broker would close the connection over it, for ever.
pub(super) fn fit(headers: &mut FieldTable) -> Option<String> {
    let of_entry = |name: &ShortString, value: &AMQPValue| name.as_str().len() + 2 + size(value);
    let mut all: usize = headers.inner().iter().map(|(name, value)| of_entry(name, value)).sum();
    if all <= MOST_BYTES {
        return None;
    }
    let mut droppable: Vec<_> = headers
        .inner()
        .iter()
        .filter(|(name, value)| !is_essential(name.as_str()) || size(value) > LARGEST_ESSENTIAL)
        .map(|(name, value)| (size(value), name.clone()))
        .collect();
    droppable.sort_unstable();
    let mut entries: BTreeMap<_, _> = headers.inner().clone();
    let mut dropped = Vec::new();
    while all > MOST_BYTES
        && let Some((bytes, name)) = droppable.pop()
    {
        all -= name.as_str().len() + 2 + bytes;
        entries.remove(&name);
        dropped.push(format!("{name} ({bytes} bytes)"));
    }
    *headers = entries.into();
    let more = dropped.len().saturating_sub(NAMED);
    dropped.truncate(NAMED);
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    Some(format!("headers left out, too large to be sent on: {}{others}", dropped.join(", ")))
}

/// Bytes on the wire behind the type.
fn size(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::LongString(text) => text.as_bytes().len() + 4,
        AMQPValue::ShortString(text) => text.as_str().len() + 1,
        AMQPValue::ByteArray(bytes) => bytes.as_slice().len() + 4,
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(|value| size(value) + 1).sum::<usize>() + 4,
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| name.as_str().len() + size(value) + 2).sum::<usize>() + 4
        }
    }
}

/// Why and from where the broker itself dead-lettered a message, from `x-death`'s newest entry.
pub(super) struct Death {
    /// Where it was.
    pub(super) queue: String,
    /// `delivery_limit`, `expired`, `maxlen`, `rejected`.
    pub(super) reason: String,
    /// Seconds since 1970.
    pub(super) at: Option<u64>,
}

/// What the broker says of a message that it dead-lettered itself; `None` for every other.
pub(super) fn death(headers: Option<&FieldTable>) -> Option<Death> {
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
    Some(Death { queue: text(Some(death), "queue")?, reason: text(Some(death), "reason")?, at })
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
    fn only_the_largest_headers_are_dropped_and_only_when_they_do_not_fit() {
        let mut headers = FieldTable::default();
        for (name, bytes) in [("small", 10), ("large", 60_000), ("larger", 61_000)] {
            headers.insert(name.into(), AMQPValue::LongString("x".repeat(bytes).into()));
        }
        set_text(&mut headers, ERROR, "why");
        assert_eq!(fit(&mut headers), None, "121,000 bytes fit");
        headers.insert(
            "nested".into(),
            AMQPValue::FieldArray(vec![AMQPValue::LongString("x".repeat(50_000).into())].into()),
        );
        let said = fit(&mut headers).unwrap();
        assert!(said.contains("larger (61004 bytes)") && !said.contains("small"), "{said}");
        let names: Vec<_> = headers.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["large", ERROR, "nested", "small"]);
    }

    #[test]
    fn tens_of_thousands_of_tiny_headers_make_room_for_ours() {
        let mut headers = FieldTable::default();
        // 24,000 of five bytes fill a frame; with ours they do not fit.
        for number in 0..24_000_u32 {
            headers.insert(format!("{number:03x}").as_str().into(), AMQPValue::Void);
        }
        set_text(&mut headers, EXCHANGE, "event.status");
        set_text(&mut headers, "lifecycle-of-a-publisher", &"x".repeat(2_000));
        let said = fit(&mut headers).unwrap();
        assert!(said.contains("lifecycle-of-a-publisher (2004 bytes)") && said.len() < 300, "{said}");
        assert!(headers.contains_key(EXCHANGE));
        let bytes: usize = headers.inner().iter().map(|(name, value)| name.as_str().len() + 2 + size(value)).sum();
        assert!((MOST_BYTES - 10..=MOST_BYTES).contains(&bytes), "{bytes}");
    }

    #[test]
    fn header_of_ours_that_a_publisher_blew_up_is_dropped_too() {
        let mut headers = FieldTable::default();
        set_text(&mut headers, REASON, &"x".repeat(130_000));
        assert!(fit(&mut headers).is_some() && headers.inner().is_empty());
    }

    #[test]
    fn only_the_brokers_headers_are_dropped() {
        let mut headers = FieldTable::default();
        for name in OF_THE_BROKER.iter().chain(&["traceparent", REPLAY_COUNT]) {
            headers.insert((*name).into(), AMQPValue::Boolean(true));
        }
        let kept = without_the_brokers(Some(&headers));
        let names: Vec<_> = kept.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, [REPLAY_COUNT, "traceparent"]);
    }
}
