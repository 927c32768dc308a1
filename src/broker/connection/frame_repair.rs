//! Makes what a publisher chose readable to lapin, in place and without changing any length (but for what is too long at all).
//!
//! RabbitMQ takes any bytes as a short string and tables nested as deep as a frame has room for. lapin's parser ends the connection
//! over a short string that is not UTF-8, and recurses into nested tables until its stack is full, which ends the process. So before
//! lapin sees a frame:
//!
//! - in a short string that is not UTF-8 each offending byte becomes `?`;
//! - a table or array nested deeper than [`DEEPEST`] becomes a byte array, which is encoded alike and holds the same bytes;
//! - what adds up to no value at all becomes a byte array too, as small a part as possible. RabbitMQ itself never delivers such.
//!
//! What lapin can read stays as it is. The time is linear in the frame's size.

use std::collections::BTreeSet;

use crate::broker::headers;

/// Tables and arrays inside one another that are left as they are: more than anybody needs, and far from what a stack holds.
const DEEPEST: usize = 32;
/// Class, weight and size of the body come before the flags that say which properties there are (AMQP 0-9-1, 4.2.6.1).
const BEFORE_FLAGS: usize = 12;
/// In the order of their bits, from the highest.
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
const HEADERS: u16 = 1 << 13;
const CLUSTER_ID: u16 = 1 << 2;
/// An entry of a table that has no name and is a byte array: length of the name, type, length of the bytes.
const NAMELESS_BYTES: usize = 6;

/// A field of a method or of the properties.
#[derive(Clone, Copy)]
enum Field {
    ShortString,
    Table,
    Bytes(usize),
}

/// The bytes add up to nothing.
#[derive(Debug)]
struct Senseless;

/// Repairs the payload of a method frame: the names and texts that come from others.
pub(in crate::broker) fn repair_method(payload: &mut [u8]) {
    use Field::{Bytes, ShortString};
    let Some((id, arguments)) = payload.split_at_mut_checked(4) else { return };
    let fields: &[Field] = match (u16::from_be_bytes([id[0], id[1]]), u16::from_be_bytes([id[2], id[3]])) {
        // basic.deliver: consumer, delivery tag, redelivered; exchange and routing key
        (60, 60) => &[ShortString, Bytes(9), ShortString, ShortString],
        // basic.get-ok: delivery tag, redelivered; exchange and routing key
        (60, 71) => &[Bytes(9), ShortString, ShortString],
        // basic.return: code and text; exchange and routing key
        (60, 50) => &[Bytes(2), ShortString, ShortString, ShortString],
        // connection.close, channel.close: code and text, which may quote a name
        (10, 50) | (20, 40) => &[Bytes(2), ShortString],
        _ => return,
    };
    let mut rest = arguments;
    for field in fields {
        let Ok(after) = repair_field(*field, rest) else { return };
        rest = after;
    }
}

/// Repairs the payload of a content header: the properties and the headers among them.
pub(in crate::broker) fn repair_content_header(payload: &mut [u8]) {
    let Some((flags, properties)) = payload.get_mut(BEFORE_FLAGS..).and_then(|rest| rest.split_first_chunk_mut::<2>())
    else {
        return;
    };
    if repair_properties(u16::from_be_bytes(*flags), properties).is_err() {
        *flags = make_opaque(properties).to_be_bytes();
    }
}

fn repair_properties(flags: u16, properties: &mut [u8]) -> Result<(), Senseless> {
    let mut rest = properties;
    for (bit, field) in (0..16).rev().zip(PROPERTIES) {
        if flags & (1 << bit) != 0 {
            rest = repair_field(field, rest)?;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(Senseless) }
}

/// The largest frame that the broker proposes, where this is connection.tune.
pub(in crate::broker) fn frame_max_of_tune(payload: &[u8]) -> Option<u32> {
    match payload {
        &[0, 10, 0, 30, _, _, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// Leaves out the largest headers of the publisher until the rest fits into `most` bytes; returns its length. The payload is a
/// repaired one.
pub(in crate::broker) fn shrink_content_header(payload: &mut [u8], most: usize) -> usize {
    shrunk(payload, most).unwrap_or(payload.len())
}

fn shrunk(payload: &mut [u8], most: usize) -> Option<usize> {
    let flags = u16::from_be_bytes(*payload.get(BEFORE_FLAGS..)?.first_chunk()?);
    let mut table = BEFORE_FLAGS + 2;
    for bit in [15, 14] {
        if flags & (1 << bit) != 0 {
            table += 1 + usize::from(*payload.get(table)?);
        }
    }
    if flags & HEADERS == 0 {
        return None;
    }
    let all = payload.len();
    let (mut left, rest) = split_sized(payload.get_mut(table..)?).ok()?;
    let after = all - rest.len();
    let mut entries = Vec::new();
    while !left.is_empty() {
        let at = after - left.len();
        let name = left.get(1..1 + usize::from(left[0]))?;
        let essential = std::str::from_utf8(name).is_ok_and(headers::is_essential);
        // Repairs nothing any more, but knows where the next one begins.
        left = repair_short_string(left).and_then(|value| repair_value(value, 0)).ok()?;
        entries.push(Entry { at, size: after - left.len() - at, essential });
    }
    // One that somebody has blown up: none of them can be believed without the others.
    let forged = entries.iter().any(|entry| entry.essential && entry.size > headers::LARGEST_ESSENTIAL);
    let mut droppable: Vec<_> = entries.iter().filter(|entry| forged || !entry.essential).copied().collect();
    droppable.sort_unstable_by_key(|entry| entry.size);
    let mut dropped = BTreeSet::new();
    let mut size = all;
    while (size > most || forged)
        && let Some(entry) = droppable.pop()
    {
        size -= entry.size;
        dropped.insert(entry.at);
    }
    let mut to = table + 4;
    for entry in entries.iter().filter(|entry| !dropped.contains(&entry.at)) {
        payload.copy_within(entry.at..entry.at + entry.size, to);
        to += entry.size;
    }
    let length = u32::try_from(to - table - 4).ok()?;
    payload[table..table + 4].copy_from_slice(&length.to_be_bytes());
    payload.copy_within(after.., to);
    tracing::warn!(headers = dropped.len(), bytes = all - size, "headers left out, too large to be received");
    Some(size)
}

/// A header, by where it is.
#[derive(Clone, Copy)]
struct Entry {
    at: usize,
    size: usize,
    essential: bool,
}

/// Properties that add up to nothing become one that holds their bytes; returns its flag.
fn make_opaque(properties: &mut [u8]) -> u16 {
    let size = properties.len();
    let u32_of = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    if size >= 4 + NAMELESS_BYTES {
        properties[..4].copy_from_slice(&u32_of(size - 4));
        properties[4..6].copy_from_slice(b"\0x");
        properties[6..10].copy_from_slice(&u32_of(size - 4 - NAMELESS_BYTES));
        return HEADERS;
    }
    // Too small for a header; nobody reads this one.
    let Some((length, text)) = properties.split_first_mut() else { return 0 };
    *length = u8::try_from(size - 1).unwrap_or_default();
    make_utf8(text);
    CLUSTER_ID
}

/// Repairs the field that the bytes begin with; returns what comes after it.
fn repair_field(field: Field, bytes: &mut [u8]) -> Result<&mut [u8], Senseless> {
    match field {
        Field::ShortString => repair_short_string(bytes),
        Field::Bytes(count) => skip(bytes, count),
        Field::Table => {
            let (table, rest) = split_sized(bytes)?;
            repair_table(table, 0)?;
            Ok(rest)
        }
    }
}

fn repair_table(mut entries: &mut [u8], depth: usize) -> Result<(), Senseless> {
    while !entries.is_empty() {
        entries = repair_value(repair_short_string(entries)?, depth)?;
    }
    Ok(())
}

fn repair_array(mut values: &mut [u8], depth: usize) -> Result<(), Senseless> {
    while !values.is_empty() {
        values = repair_value(values, depth)?;
    }
    Ok(())
}

/// Repairs the value that the bytes begin with; returns what comes after it.
fn repair_value(bytes: &mut [u8], depth: usize) -> Result<&mut [u8], Senseless> {
    let (kind, bytes) = bytes.split_first_mut().ok_or(Senseless)?;
    match *kind {
        b'V' => Ok(bytes),
        b't' | b'b' | b'B' => skip(bytes, 1),
        b's' | b'U' | b'u' => skip(bytes, 2),
        b'I' | b'i' | b'f' => skip(bytes, 4),
        b'D' => skip(bytes, 5),
        b'L' | b'l' | b'd' | b'T' => skip(bytes, 8),
        b'S' | b'x' => Ok(split_sized(bytes)?.1),
        b'A' | b'F' => {
            let (inner, rest) = split_sized(bytes)?;
            let repaired = match *kind {
                _ if depth == DEEPEST => Err(Senseless),
                b'A' => repair_array(inner, depth + 1),
                _ => repair_table(inner, depth + 1),
            };
            if repaired.is_err() {
                *kind = b'x';
            }
            Ok(rest)
        }
        _ => Err(Senseless),
    }
}

fn repair_short_string(bytes: &mut [u8]) -> Result<&mut [u8], Senseless> {
    let (length, bytes) = bytes.split_first_mut().ok_or(Senseless)?;
    let (text, rest) = bytes.split_at_mut_checked(usize::from(*length)).ok_or(Senseless)?;
    make_utf8(text);
    Ok(rest)
}

/// Each byte that is no part of a character becomes a question mark.
fn make_utf8(mut text: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(text) {
        let bad = &mut text[error.valid_up_to()..];
        let length = error.error_len().unwrap_or(bad.len());
        bad[..length].fill(b'?');
        text = &mut bad[length..];
    }
}

fn skip(bytes: &mut [u8], count: usize) -> Result<&mut [u8], Senseless> {
    bytes.get_mut(count..).ok_or(Senseless)
}

/// What a length of four bytes counts, and what comes after it.
fn split_sized(bytes: &mut [u8]) -> Result<(&mut [u8], &mut [u8]), Senseless> {
    let (size, bytes) = bytes.split_first_chunk_mut::<4>().ok_or(Senseless)?;
    let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| Senseless)?;
    bytes.split_at_mut_checked(size).ok_or(Senseless)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::basic::parse_properties;
    use lapin::protocol::{AMQPClass, basic, parse_class};
    use lapin::types::{AMQPValue, FieldTable};
    use proptest::prelude::*;

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn content_header(flags: u16, properties: &[u8]) -> Vec<u8> {
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &flags.to_be_bytes(), properties].concat()
    }

    /// As lapin reads a content header: everything, or nothing.
    fn parsed(payload: &[u8]) -> Option<lapin::BasicProperties> {
        parse_properties(&payload[BEFORE_FLAGS..]).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, read)| read)
    }

    fn repaired(payload: &[u8]) -> Vec<u8> {
        let mut repaired = payload.to_vec();
        repair_content_header(&mut repaired);
        assert_eq!(repaired.len(), payload.len());
        repaired
    }

    #[test]
    fn largest_headers_of_the_publisher_are_left_out_and_those_of_the_broker_stay() {
        let entries: Vec<_> = [("x-death", 90_usize), ("small", 5), ("large", 80), ("lifecycle-reason", 20)]
            .iter()
            .map(|(name, size)| {
                [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), b"S", &sized(&vec![b'v'; *size])].concat()
            })
            .collect();
        let table = sized(&entries.concat());
        let mut payload = content_header(0xA080, &[b"\x01c", table.as_slice(), b"\x02id"].concat());
        let most = payload.len() - 20;
        let size = shrink_content_header(&mut payload, most);
        let read = parsed(&payload[..size]).unwrap();
        assert_eq!(read.message_id().as_ref().unwrap().as_str(), "id");
        let names: Vec<_> =
            read.headers().as_ref().unwrap().inner().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["lifecycle-reason", "small", "x-death"]);
    }

    #[test]
    fn without_a_death_that_was_blown_up_no_header_of_ours_is_believed() {
        let death = [b"\x07x-deathS".as_slice(), &sized(&vec![b'v'; 130_000])].concat();
        let entries = [death.as_slice(), b"\x10lifecycle-reasonV"].concat();
        let mut payload = content_header(HEADERS, &sized(&entries));
        let size = shrink_content_header(&mut payload, 130_000);
        assert!(parsed(&payload[..size]).unwrap().headers().as_ref().unwrap().inner().is_empty());
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
    fn names_of_a_delivery_are_repaired() {
        let deliver = |key: &[u8]| [b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x05\0\x01e\x02", key].concat();
        let mut payload = deliver(b"\xffk");
        repair_method(&mut payload);
        let Ok((_, AMQPClass::Basic(basic::AMQPMethod::Deliver(read)))) = parse_class(payload.as_slice()) else {
            panic!("{payload:?}")
        };
        assert_eq!((read.routing_key.as_str(), read.delivery_tag), ("?k", 5));
        let mut short = deliver(b"")[..12].to_vec();
        repair_method(&mut short);
    }

    #[test]
    fn nesting_ends_in_bytes_and_what_is_around_it_stays() {
        for (kind, depth) in [(b'A', 26_000), (b'F', 15_000), (b'A', DEEPEST + 1)] {
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
            assert_eq!(levels, DEEPEST);
        }
        let shallow = content_header(HEADERS, &sized(&[b"\x01n", nested(b'A', DEEPEST).as_slice()].concat()));
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
            if parsed(&payload).is_some_and(|read| read.headers().as_ref().is_none_or(|all| deepest(all) <= DEEPEST)) {
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

        #[test]
        fn methods_of_any_bytes_do_no_harm(
            id in prop::sample::select(vec![[0, 60, 0, 60], [0, 60, 0, 71], [0, 60, 0, 50], [0, 20, 0, 40], [0, 10, 0, 50]]),
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let payload = [&id[..], &bytes].concat();
            let mut after = payload.clone();
            repair_method(&mut after);
            if parse_class(payload.as_slice()).is_ok() {
                prop_assert_eq!(after, payload);
            }
        }
    }
}
