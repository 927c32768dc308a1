use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::AMQPValue;
use tokio::time::timeout;

use super::address::BrokerAddress;
use super::connect::{CONNECT_TIMEOUT, not_connected, reach};
use crate::broker::connect_failure::BrokerConnectFailure;
use crate::broker::error::BrokerError;

/// What a broker says of itself before any login (`connection.start`).
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
/// A greeting has a few hundred bytes; what announces more than this is no broker.
const MAX_BYTES: usize = 64 * 1024;

/// Reads the greeting on a connection of its own, which is then dropped: lapin does not show it.
///
/// It tells what is wrong with address and TLS from what is wrong with the login.
///
/// # Errors
/// [`BrokerError::NotConnected`], when the broker cannot be reached or something else answers.
pub async fn greeting(address: &BrokerAddress) -> Result<Greeting, BrokerError> {
    let read = timeout(CONNECT_TIMEOUT, read(address)).await.unwrap_or(Err(BrokerConnectFailure::TimedOut));
    read.map_err(|failure| not_connected(address, failure))
}

async fn read(address: &BrokerAddress) -> Result<Greeting, BrokerConnectFailure> {
    let no_broker = |_| BrokerConnectFailure::NoBroker;
    let mut stream = reach(address).await.map_err(BrokerConnectFailure::Unreachable)?;
    stream.write_all(PROTOCOL_HEADER).await.map_err(BrokerConnectFailure::Unreachable)?;
    stream.flush().await.map_err(BrokerConnectFailure::Unreachable)?;
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header).await.map_err(no_broker)?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]) as usize;
    if header[0] != 1 || size > MAX_BYTES {
        return Err(BrokerConnectFailure::NoBroker);
    }
    let mut payload = vec![0; size];
    stream.read_exact(&mut payload).await.map_err(no_broker)?;
    let Ok((_, AMQPClass::Connection(AMQPMethod::Start(start)))) = parse_class(payload.as_slice()) else {
        return Err(BrokerConnectFailure::NoBroker);
    };
    let text = |name: &str| match start.server_properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    };
    Ok(Greeting { product: text("product"), version: text("version") })
}
