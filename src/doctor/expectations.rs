use crate::broker::Topology;
use crate::config::TopologyMode;

/// How the worker is meant to use the broker.
#[derive(Debug, Clone)]
pub struct BrokerExpectations {
    /// The names.
    pub topology: Topology,
    /// Who declares them.
    pub mode: TopologyMode,
    /// Whether the outbox is installed, so that the worker also publishes.
    pub publishes: bool,
    /// Whether to send a message through each exchange that has to take one.
    pub probe: bool,
}
