use lapin::Connection;

use super::declare::declare;
use super::names::Topology;
use super::verify::verify;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{close, connect};
use crate::broker::error::BrokerError;
use crate::config::TopologyMode;

/// Declares or verifies the topology, as its mode says.
pub(in crate::broker) async fn ensure(topology: &Topology, connection: &Connection) -> Result<(), BrokerError> {
    match topology.mode() {
        TopologyMode::Declare => declare(topology, connection).await,
        TopologyMode::Verify => verify(topology, connection).await,
    }
}

/// The same on a connection of its own: for a worker that cannot publish any more to what existed when it started.
///
/// # Errors
/// When the broker cannot be reached, refuses a declaration, or lacks something that this worker may not declare.
pub async fn restore_topology(topology: &Topology, address: &BrokerAddress) -> Result<(), BrokerError> {
    let connection = connect(address, "topology").await?;
    let restored = ensure(topology, &connection).await;
    close(&connection).await;
    restored
}
