use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::AMQPValue;
use tokio::time::timeout;

use super::address::BrokerAddress;
use super::connect::{CONNECT_TIMEOUT, ConnectFailure, reach};
use crate::broker::error::BrokerError;

/// What a broker says first, before any login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// `RabbitMQ`, where it is one.
    pub product: String,
    /// As in `3.10.8`.
    pub version: String,
}

/// AMQP 0-9-1, 4.2.2.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Type, channel and size come before a frame's payload (4.2.3).
const FRAME_HEADER: usize = 7;
/// A greeting is a few hundred bytes.
const LARGEST: usize = 64 * 1024;

/// Reads the greeting on a connection of its own, which is then dropped: lapin keeps to itself what the broker is.
///
/// Shows what is wrong with address and TLS apart from what is wrong with the login.
pub async fn greeting(address: &BrokerAddress) -> Result<Greeting, BrokerError> {
    let read = timeout(CONNECT_TIMEOUT, read(address)).await.unwrap_or(Err(ConnectFailure::Silent));
    read.map_err(|failure| BrokerError::connecting(address, failure))
}

async fn read(address: &BrokerAddress) -> Result<Greeting, ConnectFailure> {
    let other = |_| ConnectFailure::NoBroker;
    let mut stream = reach(address).await.map_err(ConnectFailure::Unreachable)?;
    stream.write_all(PROTOCOL_HEADER).await.map_err(ConnectFailure::Unreachable)?;
    stream.flush().await.map_err(ConnectFailure::Unreachable)?;
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header).await.map_err(other)?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]) as usize;
    if header[0] != 1 || size > LARGEST {
        return Err(ConnectFailure::NoBroker);
    }
    let mut payload = vec![0; size];
    stream.read_exact(&mut payload).await.map_err(other)?;
    let Ok((_, AMQPClass::Connection(AMQPMethod::Start(start)))) = parse_class(payload.as_slice()) else {
        return Err(ConnectFailure::NoBroker);
    };
    let said = |name: &str| match start.server_properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    };
    Ok(Greeting { product: said("product"), version: said("version") })
}
