use std::io;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::runtime::default_runtime;
use lapin::tcp::AMQPUriTcpExt;
use lapin::types::AMQPValue;
use tokio::time::timeout;

use super::connection::CONNECT_TIMEOUT;
use super::{BrokerAddress, BrokerError};

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
    const WHAT: &str = "reach RabbitMQ";
    let read = async { read(address).await.map_err(|error| BrokerError::Unreachable(error.to_string())) };
    timeout(CONNECT_TIMEOUT, read).await.map_err(|_| BrokerError::TimedOut(WHAT))?
}

async fn read(address: &BrokerAddress) -> io::Result<Greeting> {
    let runtime = default_runtime().map_err(io::Error::other)?;
    let tls = address.tls();
    let mut stream = address.uri().connect_with_config_async(tls.as_ref(), &runtime).await?;
    stream.write_all(PROTOCOL_HEADER).await?;
    stream.flush().await?;
    let other = || io::Error::other("what answers there does not speak AMQP 0-9-1");
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header).await.map_err(|_| other())?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]) as usize;
    if header[0] != 1 || size > LARGEST {
        return Err(other());
    }
    let mut payload = vec![0; size];
    stream.read_exact(&mut payload).await.map_err(|_| other())?;
    let Ok((_, AMQPClass::Connection(AMQPMethod::Start(start)))) = parse_class(payload.as_slice()) else {
        return Err(other());
    };
    let said = |name: &str| match start.server_properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    };
    Ok(Greeting { product: said("product"), version: said("version") })
}
