use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::address::BrokerAddress;
use super::filtered_stream::{BrokerStream, FilteredStream, filtering_runtime};
use crate::broker::error::BrokerError;
use crate::network::connect_first;

/// lapin has no timeout of its own for connecting.
pub(in crate::broker) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For any answer of the broker outside of publishing.
pub(in crate::broker) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects under a name that `rabbitmqctl list_connections` shows.
pub(in crate::broker) async fn connect(address: &BrokerAddress, purpose: &str) -> Result<Connection, BrokerError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let silent = |_| BrokerError::connecting(address, ConnectFailure::Silent);
    let stream = timeout_at(deadline, reach(address)).await.map_err(silent)?;
    let stream = stream.map_err(|error| BrokerError::connecting(address, ConnectFailure::Unreachable(error)))?;
    let uri = address.uri();
    // lapin asks for a stream once: it does not reconnect by itself.
    let stream = Mutex::new(Some(AsyncTcpStream::Plain(FilteredStream::new(stream, uri.query.frame_max))));
    let hand_over = async move |_, _| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted).into())
    };
    let properties =
        ConnectionProperties::default().with_connection_name(format!("snapshot-lifecycle {purpose}").into());
    let login = Connection::connector(uri, filtering_runtime(), hand_over, properties);
    timeout_at(deadline, login)
        .await
        .map_err(silent)?
        .map_err(|error| BrokerError::connecting(address, ConnectFailure::Refused(error)))
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// No address of the name accepts, or TLS fails.
    #[error("{0}")]
    Unreachable(io::Error),
    /// No answer in time.
    #[error("no answer in time")]
    Silent,
    /// Something else is there.
    #[error("what answers there does not speak AMQP 0-9-1")]
    NoBroker,
    /// The broker does not let us in, or went away meanwhile.
    #[error("{}", BrokerError::words(.0))]
    Refused(lapin::Error),
}

/// A connection to whatever is there, through TLS where the address says so.
pub(in crate::broker) async fn reach(address: &BrokerAddress) -> io::Result<BrokerStream> {
    let uri = address.uri();
    let stream = connect_first(&uri.authority.host, uri.authority.port).await?;
    let stream = AsyncTcpStream::Plain(stream.compat());
    match uri.scheme {
        AMQPScheme::AMQP => Ok(stream),
        AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, address.tls().as_ref()).await,
    }
}

/// Opens a channel.
pub(in crate::broker) async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    answer("open a channel", connection.create_channel()).await
}

/// Waits for the broker's answer, but not for ever: a half-open connection never answers.
pub(in crate::broker) async fn answer<T>(
    operation: &'static str,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    timeout(ANSWER_TIMEOUT, request)
        .await
        .map_err(|_| BrokerError::TimedOut(operation))?
        .map_err(BrokerError::during(operation))
}

/// Closes what still answers, and does not wait for what does not.
pub(in crate::broker) async fn close(connection: &Connection) {
    timeout(Duration::from_secs(1), connection.close(200, "done".into())).await.ok();
}
