//! The payload of a content header frame: the properties of a message, the headers among them.

use super::field_repair::{Field, Malformed, make_utf8, repair_field};

/// Class, weight and size of the body come before the flags that say which properties are present (AMQP 0-9-1, 4.2.6.1).
pub(super) const BEFORE_FLAGS: usize = 12;
/// The properties in the order of their bits, from the highest.
const PROPERTIES: [Field; 14] = {
    use Field::{Bytes, ShortString, Table};
    // content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to, expiration, message_id, timestamp,
    // type, user_id, app_id, cluster_id
    [
        ShortString,
        ShortString,
        Table,
        Bytes(1),
        Bytes(1),
        ShortString,
        ShortString,
        ShortString,
        ShortString,
        Bytes(8),
        ShortString,
        ShortString,
        ShortString,
        ShortString,
    ]
};
pub(super) const HEADERS: u16 = 1 << 13;
const CLUSTER_ID: u16 = 1 << 2;
/// An entry of a table that has no name and is a byte array: length of the name, type, length of the bytes.
const NAMELESS_BYTES: usize = 6;

/// Repairs the payload of a content header: the properties and the headers among them.
pub(super) fn repair_content_header(payload: &mut [u8]) {
    let Some((flags, properties)) = payload.get_mut(BEFORE_FLAGS..).and_then(|rest| rest.split_first_chunk_mut::<2>())
    else {
        return;
    };
    if repair_properties(u16::from_be_bytes(*flags), properties).is_err() {
        *flags = make_opaque(properties).to_be_bytes();
    }
}

fn repair_properties(flags: u16, properties: &mut [u8]) -> Result<(), Malformed> {
    let mut rest = properties;
    for (bit, field) in (0..16).rev().zip(PROPERTIES) {
        if flags & (1 << bit) != 0 {
            rest = repair_field(field, rest)?;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// Malformed properties become one property that holds their bytes; returns its flag.
fn make_opaque(properties: &mut [u8]) -> u16 {
    let size = properties.len();
    let u32_of = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    if size >= 4 + NAMELESS_BYTES {
        properties[..4].copy_from_slice(&u32_of(size - 4));
        properties[4..6].copy_from_slice(b"\0x");
        properties[6..10].copy_from_slice(&u32_of(size - 4 - NAMELESS_BYTES));
        return HEADERS;
    }
    // Too small for a header, so cluster_id, which nobody reads.
    let Some((length, text)) = properties.split_first_mut() else { return 0 };
    *length = u8::try_from(size - 1).unwrap_or_default();
    make_utf8(text);
    CLUSTER_ID
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::broker::connection::field_repair::MAX_DEPTH;
    use lapin::protocol::basic::parse_properties;
    use lapin::types::{AMQPValue, FieldTable};
    use proptest::prelude::*;

    pub(in crate::broker::connection) fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    pub(in crate::broker::connection) fn content_header(flags: u16, properties: &[u8]) -> Vec<u8> {
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &flags.to_be_bytes(), properties].concat()
    }

    /// The properties as lapin reads them: all, or none.
    pub(in crate::broker::connection) fn parsed(payload: &[u8]) -> Option<lapin::BasicProperties> {
        parse_properties(&payload[BEFORE_FLAGS..]).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, read)| read)
    }

    fn repaired(payload: &[u8]) -> Vec<u8> {
        let mut repaired = payload.to_vec();
        repair_content_header(&mut repaired);
        assert_eq!(repaired.len(), payload.len());
        repaired
    }

    /// Arrays or tables inside one another.
    fn nested(kind: u8, depth: usize) -> Vec<u8> {
        let name: &[u8] = if kind == b'F' { b"\x01n" } else { b"" };
        // From the outside in; each holds all that is inside it.
        let each = name.len() + 5;
        let mut bytes = Vec::new();
        for level in 0..depth {
            bytes.extend_from_slice(name);
            bytes.push(kind);
            bytes.extend_from_slice(&u32::try_from((depth - level - 1) * each).unwrap().to_be_bytes());
        }
        bytes
    }

    #[test]
    fn short_strings_that_are_not_utf8_keep_what_is() {
        let headers = sized(b"\x03a\xfcbS\0\0\0\x01\xff");
        let payload = content_header(0xA080, &[b"\x03\xc3\xa4\xff", headers.as_slice(), b"\x02\xe2\x82"].concat());
        assert!(parsed(&payload).is_none());
        let read = parsed(&repaired(&payload)).unwrap();
        assert_eq!(read.content_type().as_ref().unwrap().as_str(), "ä?");
        assert_eq!(read.message_id().as_ref().unwrap().as_str(), "??", "a character that is cut off");
        let headers = read.headers().as_ref().unwrap();
        assert_eq!(
            headers.inner()["a?b"],
            AMQPValue::LongString(b"\xff".to_vec().into()),
            "a long string is any bytes"
        );
    }

    #[test]
    fn nesting_ends_in_bytes_and_what_is_around_it_stays() {
        for (kind, depth) in [(b'A', 26_000), (b'F', 15_000), (b'A', MAX_DEPTH + 1)] {
            let bytes = nested(kind, depth);
            let entries = if kind == b'A' { [b"\x01n", bytes.as_slice()].concat() } else { bytes };
            let payload = content_header(HEADERS, &sized(&[&entries, b"\x01zI\0\0\0\x07".as_slice()].concat()));
            let read = parsed(&repaired(&payload)).unwrap();
            let headers = read.headers().as_ref().unwrap().inner();
            assert_eq!(headers["z"], AMQPValue::LongInt(7));
            let (mut value, mut levels) = (&headers["n"], 0);
            loop {
                value = match value {
                    AMQPValue::FieldArray(values) => &values.as_slice()[0],
                    AMQPValue::FieldTable(table) => &table.inner()["n"],
                    AMQPValue::ByteArray(_) => break,
                    other => panic!("{other:?}"),
                };
                levels += 1;
            }
            assert_eq!(levels, MAX_DEPTH);
        }
        let shallow = content_header(HEADERS, &sized(&[b"\x01n", nested(b'A', MAX_DEPTH).as_slice()].concat()));
        assert_eq!(repaired(&shallow), shallow);
    }

    #[test]
    fn only_the_smallest_part_that_makes_no_sense_becomes_bytes() {
        let senseless = [b"\x03badF", sized(b"\x01n?").as_slice(), b"\x04goodt\x01"].concat();
        let read = parsed(&repaired(&content_header(HEADERS, &sized(&senseless)))).unwrap();
        let headers = read.headers().as_ref().unwrap().inner();
        assert_eq!(headers["bad"], AMQPValue::ByteArray(b"\x01n?".to_vec().into()));
        assert_eq!(headers["good"], AMQPValue::Boolean(true));
    }

    fn deepest(table: &FieldTable) -> usize {
        fn of(value: &AMQPValue) -> usize {
            match value {
                AMQPValue::FieldArray(values) => 1 + values.as_slice().iter().map(of).max().unwrap_or_default(),
                AMQPValue::FieldTable(table) => 1 + deepest(table),
                _ => 0,
            }
        }
        table.inner().values().map(of).max().unwrap_or_default()
    }

    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just(b"V".to_vec()),
            any::<[u8; 8]>().prop_map(|bytes| [b"l", bytes.as_slice()].concat()),
            (prop_oneof![Just(b'S'), Just(b'x')], prop::collection::vec(any::<u8>(), 0..9))
                .prop_map(|(kind, bytes)| [&[kind][..], &sized(&bytes)].concat()),
            // Any kind with any bytes behind it: mostly senseless.
            prop::collection::vec(any::<u8>(), 1..9),
        ];
        leaf.prop_recursive(40, 60, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|values| [
                    b"A",
                    sized(&values.concat()).as_slice()
                ]
                .concat()),
                prop::collection::vec((any_name(), inner), 0..4).prop_map(|entries| {
                    let entries: Vec<_> = entries.into_iter().map(|(name, value)| [name, value].concat()).collect();
                    [b"F", sized(&entries.concat()).as_slice()].concat()
                }),
            ]
        })
    }

    fn any_name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..6)
            .prop_map(|name| [&[u8::try_from(name.len()).unwrap()], name.as_slice()].concat())
    }

    /// Properties as their flags say, with any bytes in their places.
    fn any_properties() -> impl Strategy<Value = (u16, Vec<u8>)> {
        let strings = prop::collection::vec(any_name(), 10);
        let headers = prop::collection::vec((any_name(), any_value()), 0..5);
        (any::<u16>(), strings, headers, any::<[u8; 8]>()).prop_map(|(flags, strings, headers, fixed)| {
            let mut strings = strings.into_iter();
            let mut bytes = Vec::new();
            for (bit, field) in (0..16).rev().zip(PROPERTIES) {
                if flags & (1 << bit) == 0 {
                    continue;
                }
                match field {
                    Field::ShortString => bytes.extend(strings.next().unwrap()),
                    Field::Bytes(count) => bytes.extend_from_slice(&fixed[..count]),
                    Field::Table => {
                        let entries: Vec<_> = headers.iter().map(|(name, value)| [&name[..], value].concat()).collect();
                        bytes.extend(sized(&entries.concat()));
                    }
                }
            }
            (flags, bytes)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn whatever_comes_can_be_read_afterwards((flags, properties) in any_properties()) {
            let payload = content_header(flags, &properties);
            let once = repaired(&payload);
            prop_assert!(parsed(&once).is_some(), "{once:?}");
            prop_assert_eq!(repaired(&once), once.clone(), "once is enough");
            if parsed(&payload).is_some_and(|read| read.headers().as_ref().is_none_or(|all| deepest(all) <= MAX_DEPTH)) {
                prop_assert_eq!(once, payload, "what can be read stays as it is");
            }
        }

        #[test]
        fn any_bytes_at_all_can_be_read_afterwards(flags: u16, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let payload = content_header(flags, &bytes);
            prop_assert!(parsed(&repaired(&payload)).is_some());
            if parsed(&payload).is_some() {
                prop_assert_eq!(repaired(&payload), payload);
            }
        }
    }
}
