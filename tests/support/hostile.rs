use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};

use super::{Random, RawProperties, RawPublisher, World, raw_amqp};

impl World {
    /// Publishes these bodies, each with harmful properties; half of them in frames that lapin would not write.
    pub async fn publish_hostile(&self, bodies: &[Vec<u8>], random: &mut Random) {
        let mut publisher = RawPublisher::connect(&self.servers.amqp_url).await;
        for body in bodies {
            if random.below(2) == 0 {
                let key = [b"event.status.", raw_amqp::random_bytes(random, 30).as_slice()].concat();
                publisher.publish(&self.exchange, &key, &raw_properties(random), body).await;
                continue;
            }
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_headers(hostile_headers(random))
                .with_message_id(text(random, 60).as_str().into());
            self.publish_with(std::slice::from_ref(body), &properties).await;
        }
    }
}

fn raw_properties(random: &mut Random) -> RawProperties {
    let headers = match random.below(6) {
        0 => raw_amqp::nested(b'A', 1 + random.index(26_000)),
        1 => raw_amqp::nested(b'F', 1 + random.index(15_000)),
        2 => raw_amqp::tiny_headers(random.index(15_000)),
        _ => raw_amqp::random_headers(random),
    };
    RawProperties {
        content_type: Some(raw_amqp::random_bytes(random, 30)),
        headers: Some(headers),
        message_id: Some(raw_amqp::random_bytes(random, 60)),
        ..RawProperties::default()
    }
}

/// Forged headers of ours and of the broker's, odd names, nested tables, or thousands of headers.
fn hostile_headers(random: &mut Random) -> FieldTable {
    const FORGED: [&str; 8] = [
        "x-delivery-count",
        "x-death",
        "x-first-death-queue",
        "CC",
        "lifecycle-reason",
        "lifecycle-attempt",
        "lifecycle-error",
        "lifecycle-replays",
    ];
    let mut headers = FieldTable::default();
    for _ in 0..random.below(8) {
        let name = FORGED[random.index(FORGED.len())];
        // CC lists further routing keys. The broker checks its type, and would refuse another.
        let value = if name == "CC" { AMQPValue::FieldArray(FieldArray::default()) } else { value(random, 4) };
        headers.insert(name.into(), value);
    }
    for _ in 0..random.below(6) {
        headers.insert(text(random, 30).as_str().into(), value(random, 4));
    }
    if random.below(4) == 0 {
        for n in 0..2_000 {
            headers.insert(format!("{n}").as_str().into(), AMQPValue::Void);
        }
    }
    headers
}

fn value(random: &mut Random, depth: u64) -> AMQPValue {
    match random.below(if depth == 0 { 6 } else { 8 }) {
        0 => AMQPValue::Void,
        1 => AMQPValue::Boolean(random.below(2) == 0),
        2 => AMQPValue::LongLongInt(i64::try_from(random.below(i64::MAX as u64)).unwrap() - (1 << 62)),
        3 => AMQPValue::LongString(text(random, 400).as_str().into()),
        4 => AMQPValue::LongString(LongString::from(vec![0xFF, 0xFE, 0])),
        5 => AMQPValue::Timestamp(random.below(u64::MAX)),
        6 => {
            let mut array = FieldArray::default();
            for _ in 0..random.below(4) {
                array.push(value(random, depth - 1));
            }
            AMQPValue::FieldArray(array)
        }
        _ => {
            let mut table = FieldTable::default();
            for _ in 0..random.below(4) {
                table.insert(text(random, 20).as_str().into(), value(random, depth - 1));
            }
            AMQPValue::FieldTable(table)
        }
    }
}

/// A text of at most `most` bytes.
fn text(random: &mut Random, most: u64) -> String {
    const ODD: [char; 8] = ['a', '\0', '\n', '"', '\\', 'ß', '\u{202e}', '\u{1b}'];
    (0..random.below(most / 4 + 1)).map(|_| ODD[random.index(ODD.len())]).collect()
}
