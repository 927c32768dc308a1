use std::collections::BTreeMap;

use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::broker::headers::{MAX_ESSENTIAL_BYTES, is_essential};

/// Headers and the other properties must fit into one frame (AMQP 0-9-1, 4.2.6), which has 128 KiB unless the broker is configured
/// otherwise. The rest is for the other properties and for the headers that we add.
const MAX_BYTES: usize = 120 * 1024;

/// Dropped headers that are named, so that the text stays short.
const MAX_NAMED: usize = 5;

/// Drops the largest headers of the application until the rest fits into a frame, and says which. The message arrived with all of them;
/// with ours added the broker would close the connection over it at every attempt.
pub(in crate::broker) fn fit_into_frame(headers: &mut FieldTable) -> Option<String> {
    let of_entry = |name: &ShortString, value: &AMQPValue| name.as_str().len() + 2 + size(value);
    let mut all: usize = headers.inner().iter().map(|(name, value)| of_entry(name, value)).sum();
    if all <= MAX_BYTES {
        return None;
    }
    let mut droppable: Vec<_> = headers
        .inner()
        .iter()
        .filter(|(name, value)| !is_essential(name.as_str()) || size(value) > MAX_ESSENTIAL_BYTES)
        .map(|(name, value)| (size(value), name.clone()))
        .collect();
    droppable.sort_unstable();
    let mut entries: BTreeMap<_, _> = headers.inner().clone();
    let mut dropped = Vec::new();
    while all > MAX_BYTES
        && let Some((bytes, name)) = droppable.pop()
    {
        all -= name.as_str().len() + 2 + bytes;
        entries.remove(&name);
        dropped.push(format!("{name} ({bytes} bytes)"));
    }
    *headers = entries.into();
    let more = dropped.len().saturating_sub(MAX_NAMED);
    dropped.truncate(MAX_NAMED);
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    Some(format!("headers left out, too large to be sent on: {}{others}", dropped.join(", ")))
}

/// Bytes on the wire after the byte of the type.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::headers::{ERROR, EXCHANGE, REASON, set_text};

    #[test]
    fn only_the_largest_headers_are_dropped_and_only_when_they_do_not_fit() {
        let mut headers = FieldTable::default();
        for (name, bytes) in [("small", 10), ("large", 60_000), ("larger", 61_000)] {
            headers.insert(name.into(), AMQPValue::LongString("x".repeat(bytes).into()));
        }
        set_text(&mut headers, ERROR, "why");
        assert_eq!(fit_into_frame(&mut headers), None, "121,000 bytes fit");
        headers.insert(
            "nested".into(),
            AMQPValue::FieldArray(vec![AMQPValue::LongString("x".repeat(50_000).into())].into()),
        );
        let said = fit_into_frame(&mut headers).unwrap();
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
        let said = fit_into_frame(&mut headers).unwrap();
        assert!(said.contains("lifecycle-of-a-publisher (2004 bytes)") && said.len() < 300, "{said}");
        assert!(headers.contains_key(EXCHANGE));
        let bytes: usize = headers.inner().iter().map(|(name, value)| name.as_str().len() + 2 + size(value)).sum();
        assert!((MAX_BYTES - 10..=MAX_BYTES).contains(&bytes), "{bytes}");
    }

    #[test]
    fn size_is_that_of_each_type_on_the_wire() {
        use AMQPValue::{
            Boolean, ByteArray, DecimalValue, Double, FieldArray, Float, LongInt, LongLongInt, LongString, LongUInt,
            ShortInt, ShortShortInt, ShortShortUInt, ShortString, ShortUInt, Timestamp, Void,
        };
        let mut table = FieldTable::default();
        table.insert("name".into(), LongInt(1));
        table.insert("other".into(), Void);
        let decimal = lapin::types::DecimalValue { scale: 2, value: 1 };
        for (bytes, value) in [
            (0, Void),
            (1, Boolean(true)),
            (1, ShortShortInt(1)),
            (1, ShortShortUInt(1)),
            (2, ShortInt(1)),
            (2, ShortUInt(1)),
            (4, LongInt(1)),
            (4, LongUInt(1)),
            (4, Float(1.0)),
            (5, DecimalValue(decimal)),
            (8, LongLongInt(1)),
            (8, Double(1.0)),
            (8, Timestamp(1)),
            // a length of four bytes, or of one
            (7, LongString("abc".into())),
            (4, ShortString("abc".into())),
            (7, ByteArray(vec![1, 2, 3].into())),
            // before each value the byte of its type, and before a name its length
            (4 + (1 + 4) + (1 + 8), FieldArray(vec![LongInt(1), Double(1.0)].into())),
            (4 + (1 + 4 + 1 + 4) + (1 + 5 + 1), AMQPValue::FieldTable(table)),
        ] {
            assert_eq!(size(&value), bytes, "{value:?}");
        }
    }

    /// Headers of the application, each of these sizes with its name.
    fn headers(sizes: impl IntoIterator<Item = usize>) -> FieldTable {
        let mut headers = FieldTable::default();
        for (number, bytes) in sizes.into_iter().enumerate() {
            let text = "x".repeat(bytes - 2 - 4 - 4);
            headers.insert(format!("{number:04}").as_str().into(), AMQPValue::LongString(text.into()));
        }
        headers
    }

    #[test]
    fn nothing_is_dropped_beyond_what_makes_the_rest_fit_to_the_byte() {
        assert_eq!(fit_into_frame(&mut headers([MAX_BYTES - 100, 100])), None);
        let mut too_many = headers([MAX_BYTES - 100, 100, 90_000]);
        assert_eq!(fit_into_frame(&mut too_many).unwrap().matches("bytes").count(), 1);
        let mut just_too_many = headers([60_000, MAX_BYTES - 60_000, 70_000]);
        fit_into_frame(&mut just_too_many).unwrap();
        assert_eq!(just_too_many.inner().len(), 2, "what is left fits exactly");
    }

    #[test]
    fn five_of_those_that_are_dropped_are_named_and_the_others_counted() {
        let said = |count| fit_into_frame(&mut headers([vec![70_000; count], vec![MAX_BYTES]].concat())).unwrap();
        let five = said(4);
        assert!(five.matches("bytes)").count() <= 5 && !five.contains("others"), "{five}");
        let mut many = headers(vec![MAX_BYTES - 1; 8]);
        let said = fit_into_frame(&mut many).unwrap();
        assert!(said.matches("bytes)").count() == 5 && said.ends_with(" and 2 others"), "{said}");
    }

    #[test]
    fn header_of_ours_of_the_usual_size_stays_before_larger_and_smaller_ones() {
        let mut headers = headers(vec![1_000; 130]);
        set_text(&mut headers, ERROR, &"x".repeat(MAX_ESSENTIAL_BYTES - 4));
        fit_into_frame(&mut headers).unwrap();
        assert!(headers.contains_key(ERROR));
    }

    #[test]
    fn header_of_ours_that_a_publisher_blew_up_is_dropped_too() {
        let mut headers = FieldTable::default();
        set_text(&mut headers, REASON, &"x".repeat(130_000));
        assert!(fit_into_frame(&mut headers).is_some() && headers.inner().is_empty());
    }
}
