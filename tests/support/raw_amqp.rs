use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Random;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// A publisher that encodes its own frames, so that it can send everything that RabbitMQ accepts.
pub struct RawPublisher {
    stream: TcpStream,
}

/// Basic properties as bytes, in the order of the bits in the flags.
#[derive(Debug, Clone, Default)]
pub struct RawProperties {
    pub content_type: Option<Vec<u8>>,
    /// The entries of the table, without its length.
    pub headers: Option<Vec<u8>>,
    pub expiration: Option<Vec<u8>>,
    pub message_id: Option<Vec<u8>>,
}

impl RawProperties {
    pub fn with_headers(headers: Vec<u8>) -> Self {
        Self { headers: Some(headers), ..Self::default() }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut flags = 1_u16 << 12; // delivery mode
        let mut bytes = Vec::new();
        if let Some(text) = &self.content_type {
            flags |= 1 << 15;
            bytes.extend(short_string(text));
        }
        if let Some(headers) = &self.headers {
            flags |= 1 << 13;
            bytes.extend(sized(headers));
        }
        bytes.push(2); // persistent
        if let Some(text) = &self.expiration {
            flags |= 1 << 8;
            bytes.extend(short_string(text));
        }
        if let Some(text) = &self.message_id {
            flags |= 1 << 7;
            bytes.extend(short_string(text));
        }
        [&flags.to_be_bytes(), bytes.as_slice()].concat()
    }
}

impl RawPublisher {
    /// Logs in at `amqp://USER:PASSWORD@HOST:PORT/%2f` and asks for confirms.
    pub async fn connect(url: &str) -> Self {
        let (user, rest) = url.strip_prefix("amqp://").unwrap().split_once('@').expect("a URL with a user");
        let (name, password) = user.split_once(':').unwrap();
        let mut it = Self { stream: TcpStream::connect(rest.split_once('/').unwrap().0).await.unwrap() };
        it.stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        it.expect(10, 10).await;
        let login = [b"\0", name.as_bytes(), b"\0", password.as_bytes()].concat();
        it.method(0, (10, 11), &[sized(b""), short_string(b"PLAIN"), sized(&login), short_string(b"en_US")].concat())
            .await;
        let limits = it.expect(10, 30).await;
        it.method(0, (10, 31), &[&limits[..6], &[0, 0]].concat()).await; // no heartbeats
        it.method(0, (10, 40), &[short_string(b"/"), vec![0, 0]].concat()).await;
        it.expect(10, 41).await;
        it.method(1, (20, 10), &[0]).await;
        it.expect(20, 11).await;
        it.method(1, (85, 10), &[0]).await;
        it.expect(85, 11).await;
        it
    }

    /// Publishes one message and waits until it is confirmed to be in a queue.
    pub async fn publish(&mut self, exchange: &str, key: &[u8], properties: &RawProperties, body: &[u8]) {
        let mandatory = 1;
        let arguments = [vec![0, 0], short_string(exchange.as_bytes()), short_string(key), vec![mandatory]].concat();
        self.method(1, (60, 40), &arguments).await;
        let size = u64::try_from(body.len()).unwrap().to_be_bytes();
        self.frame(HEADER, 1, &[&[0, 60, 0, 0], &size[..], &properties.encoded()].concat()).await;
        if !body.is_empty() {
            self.frame(BODY, 1, body).await;
        }
        self.expect(60, 80).await;
    }

    async fn method(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        self.frame(METHOD, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat()).await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind], &channel.to_be_bytes()[..], &sized(payload), &[FRAME_END]].concat();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Waits for the next method, which must be this one, and returns its arguments.
    async fn expect(&mut self, class: u16, method: u16) -> Vec<u8> {
        let mut header = [0; 7];
        self.stream.read_exact(&mut header).await.expect("the broker answers");
        let size = u32::from_be_bytes(header[3..].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
        self.stream.read_exact(&mut payload).await.unwrap();
        payload.pop();
        let came = (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]));
        assert_eq!(came, (class, method), "{}", String::from_utf8_lossy(&payload));
        payload.split_off(4)
    }
}

pub fn short_string(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("255 bytes at most")], text].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// One header of nested arrays (`A`) or tables (`F`).
pub fn nested(kind: u8, depth: usize) -> Vec<u8> {
    let name = short_string(if kind == b'F' { b"n" } else { b"" });
    let name = if kind == b'F' { name } else { Vec::new() };
    let mut bytes = short_string(b"nested");
    for level in 0..depth {
        if level > 0 {
            bytes.extend_from_slice(&name);
        }
        bytes.push(kind);
        bytes.extend(u32::try_from((depth - level - 1) * (name.len() + 5)).unwrap().to_be_bytes());
    }
    bytes
}

/// `count` headers of six bytes.
pub fn tiny_headers(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        let mut name = String::new();
        write!(name, "{number:04x}").unwrap();
        bytes.extend(short_string(name.as_bytes()));
        bytes.extend(b"V");
    }
    bytes
}

/// Headers of all types that RabbitMQ knows, with any bytes as names and texts.
pub fn random_headers(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(6) {
        bytes.extend(short_string(&random_bytes(random, 20)));
        bytes.extend(random_value(random, 50));
    }
    bytes
}

pub fn random_bytes(random: &mut Random, most: u64) -> Vec<u8> {
    (0..random.below(most)).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

fn random_value(random: &mut Random, depth: u32) -> Vec<u8> {
    let number = random.below(1 << 48).to_be_bytes();
    match random.below(if depth > 0 { 12 } else { 9 }) {
        0 => b"V".to_vec(),
        1 => [b"t", &number[7..]].concat(),
        2 => [&[b'b', b'B'][..1], &number[7..]].concat(),
        3 => [b"s", &number[6..]].concat(),
        4 => [b"I", &number[4..]].concat(),
        5 => [b"D", &number[3..]].concat(),
        6 => [b"l", &number[..]].concat(),
        7 => [b"S", sized(&random_bytes(random, 40)).as_slice()].concat(),
        8 => [b"x", sized(&random_bytes(random, 40)).as_slice()].concat(),
        9 => [b"T", &number[..]].concat(),
        10 => {
            let values: Vec<_> = (0..random.below(3)).map(|_| random_value(random, depth - 1)).collect();
            [b"A", sized(&values.concat()).as_slice()].concat()
        }
        _ => {
            let mut entries = Vec::new();
            for _ in 0..random.below(3) {
                entries.extend(short_string(&random_bytes(random, 8)));
                entries.extend(random_value(random, depth - 1));
            }
            [b"F", sized(&entries).as_slice()].concat()
        }
    }
}
