use std::time::Duration;

use lapin::runtime::default_runtime;
use lapin::{Channel, Connect, Connection, ConnectionProperties};

use super::{BrokerAddress, BrokerError};

/// lapin has no time-out of its own for connecting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For any answer of the broker outside of publishing.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects under a name that `rabbitmqctl list_connections` shows.
pub(super) async fn connect(address: &BrokerAddress, purpose: &str) -> Result<Connection, BrokerError> {
    const WHAT: &str = "connect to RabbitMQ";
    let properties =
        ConnectionProperties::default().with_connection_name(format!("snapshot-lifecycle {purpose}").into());
    let runtime = default_runtime().map_err(BrokerError::during(WHAT))?;
    let connecting = address.uri().connect_with_config(properties, address.tls(), runtime);
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| BrokerError::TimedOut(WHAT))?
        .map_err(BrokerError::during(WHAT))
}

/// Opens a channel.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    answer("open a channel", connection.create_channel()).await
}

/// Waits for the broker's answer, but not for ever: a half-open connection never answers.
pub(super) async fn answer<T>(
    operation: &'static str,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    tokio::time::timeout(ANSWER_TIMEOUT, request)
        .await
        .map_err(|_| BrokerError::TimedOut(operation))?
        .map_err(BrokerError::during(operation))
}

/// Closes what still answers, and does not wait for what does not.
pub(super) async fn close(connection: &Connection) {
    tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await.ok();
}
