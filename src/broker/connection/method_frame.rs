//! The payload of a method frame.

use super::field_repair::{Field, repair_field};

/// Repairs the payload of a method frame: the names and texts that a publisher chose.
pub(super) fn repair_method(payload: &mut [u8]) {
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

/// The largest frame that the broker proposes, if this is connection.tune.
pub(super) fn frame_max_of_tune(payload: &[u8]) -> Option<u32> {
    match payload {
        &[0, 10, 0, 30, _, _, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::{AMQPClass, basic, parse_class};
    use proptest::prelude::*;

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

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
