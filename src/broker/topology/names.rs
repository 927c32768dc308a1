use crate::config::TopologyMode;
use crate::policy::DELAYS;

/// Routing key by which messages come back from the wait queues.
pub(in crate::broker) const BACK_TO_WORK: &str = "work";

/// The exchanges and queues of the worker, all durable, by their names:
///
/// ```text
/// <exchange> (topic) --event.status.#--> <queue> --delivery limit--> <queue>.dlx (fanout) --> <queue>.dead-letter
/// <queue>.retry (direct) --1s, 10s, 1m, 10m--> <queue>.wait.<delay> --TTL--> <queue>.retry --work--> <queue>
/// ```
#[derive(Debug, Clone)]
pub struct Topology {
    exchange: String,
    queue: String,
    mode: TopologyMode,
}

impl Topology {
    /// The topology around an exchange and a queue.
    #[must_use]
    pub const fn new(exchange: String, queue: String, mode: TopologyMode) -> Self {
        Self { exchange, queue, mode }
    }

    pub(super) const fn mode(&self) -> TopologyMode {
        self.mode
    }

    /// The backend's exchange.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The work queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The exchange to which dead letters are published.
    #[must_use]
    pub fn dead_letter_exchange(&self) -> String {
        format!("{}.dlx", self.queue)
    }

    /// The queue of dead letters.
    #[must_use]
    pub fn dead_letter_queue(&self) -> String {
        format!("{}.dead-letter", self.queue)
    }

    /// An exclusive queue, which the one `dlq` command at work holds; it ends with that command's connection.
    pub(in crate::broker) fn dead_letter_lock(&self) -> String {
        format!("{}.dead-letter.lock", self.queue)
    }

    /// The exchange to which retry copies are published, with the name of the delay as routing key.
    #[must_use]
    pub fn retry_exchange(&self) -> String {
        format!("{}.retry", self.queue)
    }

    pub(super) fn wait_queues(&self) -> impl Iterator<Item = String> {
        DELAYS.iter().map(|(name, _)| self.wait_queue(name))
    }

    pub(super) fn wait_queue(&self, delay: &str) -> String {
        format!("{}.wait.{delay}", self.queue)
    }

    /// Whether messages pass through this queue on their way through the worker: the work queue and the wait queues.
    pub(in crate::broker) fn has_queue(&self, name: &str) -> bool {
        name == self.queue || self.wait_queues().any(|queue| queue == name)
    }
}
