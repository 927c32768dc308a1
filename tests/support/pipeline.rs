use std::time::Duration;

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, Topology};
use snapshot_lifecycle::config::TopologyMode;
use snapshot_lifecycle::pipeline::PipelineOptions;

use super::World;

impl World {
    /// Options of a pipeline that a test runs itself: one attempt, and messages are held for this long.
    pub fn pipeline_options(&self, hold_at_most: Duration) -> PipelineOptions {
        PipelineOptions {
            address: BrokerAddress::parse(Some(&SecretString::from(self.servers.amqp_url.clone()))).unwrap(),
            topology: Topology::new(self.exchange.clone(), self.queue.clone(), TopologyMode::Declare),
            prefetch: 100,
            max_message_bytes: 1000,
            max_attempts: 1,
            hold_at_most,
        }
    }
}
