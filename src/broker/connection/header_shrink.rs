use std::collections::BTreeSet;

use super::content_header::{BEFORE_FLAGS, HEADERS};
use super::field_repair::{repair_short_string, repair_value, split_sized};
use crate::broker::headers::{MAX_ESSENTIAL_BYTES, is_essential};

/// Leaves out the publisher's largest headers until the payload of a content header fits into `max` bytes; returns its length. The payload
/// is repaired already.
pub(super) fn shrink_content_header(payload: &mut [u8], max: usize) -> usize {
    shrunk(payload, max).unwrap_or(payload.len())
}

fn shrunk(payload: &mut [u8], max: usize) -> Option<usize> {
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
        let essential = std::str::from_utf8(name).is_ok_and(is_essential);
        // Repairs nothing any more, but finds where the next header begins.
        left = repair_short_string(left).and_then(|value| repair_value(value, 0)).ok()?;
        entries.push(Entry { at, size: after - left.len() - at, essential });
    }
    // One that is larger than we or the broker write was written by a publisher. Then none of them can be believed.
    let forged = entries.iter().any(|entry| entry.essential && entry.size > MAX_ESSENTIAL_BYTES);
    let mut droppable: Vec<_> = entries.iter().filter(|entry| forged || !entry.essential).copied().collect();
    droppable.sort_unstable_by_key(|entry| entry.size);
    let mut dropped = BTreeSet::new();
    let mut size = all;
    while (size > max || forged)
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

/// A header by its place in the payload.
#[derive(Clone, Copy)]
struct Entry {
    at: usize,
    size: usize,
    essential: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::connection::content_header::tests::{content_header, parsed, sized};

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
}
