use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::address::BrokerAddress;
use super::filtered_stream::{BrokerStream, FilteredStream};
use super::filtering_runtime::filtering_runtime;
use crate::broker::connect_failure::BrokerConnectFailure;
use crate::broker::error::BrokerError;
use crate::network::connect_first;

/// AMQP's reply code for a close without an error.
const REPLY_SUCCESS: u16 = 200;
/// From resolving the name to the end of the login: lapin has no timeout of its own for connecting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For any answer of the broker outside of publishing: a half-open connection never answers, and lapin notices that only after two
/// heartbeats.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that is closed is not needed any more: whoever closes it waits no longer than this.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects under a name of the worker's for this purpose.
pub(in crate::broker) async fn connect(address: &BrokerAddress, purpose: &str) -> Result<Connection, BrokerError> {
    connect_as(address, &format!("snapshot-lifecycle {purpose}")).await
}

/// Connects under a name that `rabbitmqctl list_connections` shows.
pub(in crate::broker) async fn connect_as(address: &BrokerAddress, name: &str) -> Result<Connection, BrokerError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let timed_out = |_| not_connected(address, BrokerConnectFailure::TimedOut);
    let stream = timeout_at(deadline, reach(address)).await.map_err(timed_out)?;
    let stream = stream.map_err(|error| not_connected(address, BrokerConnectFailure::Unreachable(error)))?;
    let uri = address.uri();
    // lapin asks for a stream only once, since its recovery is off.
    let stream = Mutex::new(Some(AsyncTcpStream::Plain(FilteredStream::new(stream, uri.query.frame_max))));
    let hand_over = async move |_, _| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted).into())
    };
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let login = Connection::connector(uri, filtering_runtime(), hand_over, properties);
    timeout_at(deadline, login)
        .await
        .map_err(timed_out)?
        .map_err(|error| not_connected(address, BrokerConnectFailure::Refused(error)))
}

/// The error that says where the broker was looked for, why there is no connection, and how to fix it.
pub(super) fn not_connected(address: &BrokerAddress, failure: BrokerConnectFailure) -> BrokerError {
    let fix = failure.fix(address.is_encrypted());
    BrokerError::NotConnected { server: address.host(), failure, fix }
}

/// A connection to whatever listens there, through TLS where the address says so.
pub(super) async fn reach(address: &BrokerAddress) -> io::Result<BrokerStream> {
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

/// Waits for the broker's answer, at most for [`ANSWER_TIMEOUT`].
pub(in crate::broker) async fn answer<T>(
    operation: &'static str,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    timeout(ANSWER_TIMEOUT, request)
        .await
        .map_err(|_| BrokerError::TimedOut(operation))?
        .map_err(BrokerError::during(operation))
}

/// Closes a channel that is open.
pub(in crate::broker) async fn close_channel(channel: &Channel) -> Result<(), BrokerError> {
    answer("close a channel", channel.close(REPLY_SUCCESS, "done".into())).await
}

/// Closes the connection, at most for [`CLOSE_TIMEOUT`].
pub(in crate::broker) async fn close(connection: &Connection) {
    timeout(CLOSE_TIMEOUT, connection.close(REPLY_SUCCESS, "done".into())).await.ok();
}
