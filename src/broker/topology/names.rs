use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::config::TopologyMode;
use crate::policy::DELAYS;

/// Deliveries of one message before the broker dead-letters it: what RabbitMQ 4 does by default, said for 3.10 too. A message
/// that crashes the worker ends so. An outage costs a message one delivery, however long it lasts.
const DELIVERY_LIMIT: i64 = 20;
/// For the dead-letter queue: never reached. With no limit at all, 4.x would use 20, and every look counts as a delivery
/// up to 4.2; and 3.10 puts a returned message back in its place only where there is a limit.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;
/// For the work queue: never reached. RabbitMQ lets a publisher that it has refused publish again only when it sees the queue fall
/// below a limit, and its own publisher, which moves what has waited, lives as long as the wait queue's leader. So a limit that was set
/// by a policy and taken away while the queue was full would keep those messages for ever; with this one below it they move.
const NO_LENGTH_LIMIT: i64 = 1_000_000_000;
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

/// A queue as it should be.
pub(in crate::broker) struct PlannedQueue {
    pub(in crate::broker) name: String,
    pub(in crate::broker) arguments: FieldTable,
    /// As an earlier version has made it, which is used as it is.
    pub(in crate::broker) earlier: Option<FieldTable>,
    /// Exchange and routing key.
    pub(in crate::broker) bindings: Vec<(String, &'static str)>,
}

impl Topology {
    /// The topology around an exchange and a queue.
    #[must_use]
    pub const fn new(exchange: String, queue: String, mode: TopologyMode) -> Self {
        Self { exchange, queue, mode }
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

    /// Where dead letters are published.
    #[must_use]
    pub fn dead_letter_exchange(&self) -> String {
        format!("{}.dlx", self.queue)
    }

    /// Where dead letters stay.
    #[must_use]
    pub fn dead_letter_queue(&self) -> String {
        format!("{}.dead-letter", self.queue)
    }

    /// Held by whichever `dlq` command is at work: an exclusive queue, which ends with its connection.
    pub(in crate::broker) fn dead_letter_lock(&self) -> String {
        format!("{}.dead-letter.lock", self.queue)
    }

    /// Where messages that wait for another try are published, by the name of the delay.
    #[must_use]
    pub fn retry_exchange(&self) -> String {
        format!("{}.retry", self.queue)
    }

    pub(in crate::broker) fn wait_queues(&self) -> impl Iterator<Item = String> {
        DELAYS.iter().map(|(name, _)| self.wait_queue(name))
    }

    /// Whether messages on their way through the worker stay in it: the work queue or a wait queue.
    pub(in crate::broker) fn has_queue(&self, name: &str) -> bool {
        name == self.queue || self.wait_queues().any(|queue| queue == name)
    }

    fn wait_queue(&self, delay: &str) -> String {
        format!("{}.wait.{delay}", self.queue)
    }

    /// Every queue as it should be, in the order in which they are made: whatever dead-letters comes after where it does so to.
    pub(in crate::broker) fn queues(&self) -> Vec<PlannedQueue> {
        let dead_letters = PlannedQueue {
            name: self.dead_letter_queue(),
            arguments: quorum([("x-delivery-limit", NO_DELIVERY_LIMIT.into())]),
            earlier: None,
            bindings: vec![(self.dead_letter_exchange(), "")],
        };
        let earlier = dead_lettering(&self.dead_letter_exchange(), [("x-delivery-limit", DELIVERY_LIMIT.into())]);
        let mut arguments = earlier.clone();
        arguments.insert("x-max-length".into(), NO_LENGTH_LIMIT.into());
        let work = PlannedQueue {
            name: self.queue.clone(),
            arguments,
            earlier: Some(earlier),
            bindings: vec![(self.exchange.clone(), "event.status.#"), (self.retry_exchange(), BACK_TO_WORK)],
        };
        let waits = DELAYS.iter().map(|(name, delay)| PlannedQueue {
            name: self.wait_queue(name),
            arguments: dead_lettering(
                &self.retry_exchange(),
                [
                    // For the queue, not for each message: messages expire only at the head of a queue, so mixed delays
                    // would wait for the longest in front of them.
                    ("x-message-ttl", i64::try_from(delay.as_millis()).unwrap_or(i64::MAX).into()),
                    ("x-dead-letter-routing-key", AMQPValue::LongString(BACK_TO_WORK.into())),
                ],
            ),
            earlier: None,
            bindings: vec![(self.retry_exchange(), name)],
        });
        [dead_letters, work].into_iter().chain(waits).collect()
    }

    /// Makes what is missing, or says what is, on a connection of its own: for a worker that cannot publish to what was there when it
    /// began.
    pub async fn restore(&self, address: &BrokerAddress) -> Result<(), BrokerError> {
        let connection = connect(address, "topology").await?;
        let restored = self.ensure(&connection).await;
        close(&connection).await;
        restored
    }

    /// Makes or verifies everything, by the mode.
    pub(in crate::broker) async fn ensure(&self, connection: &Connection) -> Result<(), BrokerError> {
        match self.mode {
            TopologyMode::Declare => self.declare(connection).await,
            TopologyMode::Verify => self.verify(connection).await,
        }
    }

    async fn declare(&self, connection: &Connection) -> Result<(), BrokerError> {
        self.declare_host_exchange(connection).await?;
        let channel = open_channel(connection).await?;
        // fanout: whatever routing key a letter has, it belongs here.
        declare_exchange(&channel, &self.dead_letter_exchange(), ExchangeKind::Fanout).await?;
        declare_exchange(&channel, &self.retry_exchange(), ExchangeKind::Direct).await?;

        for queue in self.queues() {
            declare_queue(connection, &queue).await.map_err(|error| explained(error, "queue", &queue.name))?;
            for (exchange, key) in &queue.bindings {
                bind(&channel, &queue.name, exchange, key).await?;
            }
        }
        answer("close a channel", channel.close(200, "done".into())).await
    }

    /// The exchange is the backend's: where it is there already with properties of its own, such as an alternate exchange,
    /// it is used as it is.
    async fn declare_host_exchange(&self, connection: &Connection) -> Result<(), BrokerError> {
        let channel = open_channel(connection).await?;
        let error = match declare_exchange(&channel, &self.exchange, ExchangeKind::Topic).await {
            Ok(()) => return answer("close a channel", channel.close(200, "done".into())).await,
            Err(error) => error,
        };
        if matches!(error, BrokerError::Topology(_)) && exchange_is_there(connection, &self.exchange).await? {
            if routes_by_whole_keys(&error.to_string()) {
                return Err(BrokerError::Topology(format!(
                    "exchange {} is a direct exchange, to which event.status.# means nothing, so no message would ever arrive; {TOPIC_NEEDED}",
                    self.exchange
                )));
            }
            tracing::warn!(
                exchange = self.exchange,
                "exchange is there with other properties than a durable topic exchange; using it as it is"
            );
            return Ok(());
        }
        Err(error)
    }

    async fn verify(&self, connection: &Connection) -> Result<(), BrokerError> {
        let mut missing = Vec::new();
        for exchange in [self.exchange.clone(), self.dead_letter_exchange(), self.retry_exchange()] {
            if !exchange_is_there(connection, &exchange).await? {
                missing.push(format!("exchange {exchange}"));
            }
        }
        for PlannedQueue { name, .. } in self.queues() {
            if !queue_is_there(connection, &name).await? {
                missing.push(format!("queue {name}"));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(BrokerError::Topology(format!(
            "missing in RabbitMQ: {}; make them, or let the worker do it with LIFECYCLE_TOPOLOGY=declare",
            missing.join(", ")
        )))
    }
}

async fn declare_exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    // durable: it must be there after a restart of the broker, or messages would be unroutable.
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared =
        answer("declare an exchange", channel.exchange_declare(name.into(), kind, options, FieldTable::default()))
            .await;
    declared.map_err(|error| explained(error, "exchange", name))
}

/// Makes a queue, or has the broker agree that it is there as it should be or as an earlier version has made it.
pub(in crate::broker) async fn declare_queue(connection: &Connection, queue: &PlannedQueue) -> Result<(), BrokerError> {
    // durable: required of quorum queues. Neither exclusive nor auto-delete: it outlives every worker.
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut declared = Ok(());
    for arguments in [Some(&queue.arguments), queue.earlier.as_ref()].into_iter().flatten() {
        // Of its own, because a refusal closes it.
        let channel = open_channel(connection).await?;
        let declaring = channel.queue_declare(queue.name.as_str().into(), options, arguments.clone());
        declared = answer("declare a queue", declaring).await.map(drop);
        match &declared {
            Ok(()) => return answer("close a channel", channel.close(200, "done".into())).await,
            Err(BrokerError::Failed { cause, .. })
                if BrokerError::soft_error(cause) == Some(AMQPSoftError::PRECONDITIONFAILED) => {}
            Err(_) => break,
        }
    }
    declared
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, routing_key: &str) -> Result<(), BrokerError> {
    let binding = channel.queue_bind(
        queue.into(),
        exchange.into(),
        routing_key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    answer("bind a queue", binding).await.map_err(|error| explained(error, "queue", queue))
}

/// A queue that is replicated where there is more than one node. Said explicitly, because a vhost's default may be another.
fn quorum<const N: usize>(more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in more {
        arguments.insert(name.into(), value);
    }
    arguments
}

/// A quorum queue whose own dead-lettering loses nothing: at-least-once needs `reject-publish`, and falls back to
/// at-most-once without a word where it is missing.
fn dead_lettering<const N: usize>(exchange: &str, more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = quorum(more);
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(exchange.into()));
    arguments.insert("x-dead-letter-strategy".into(), AMQPValue::LongString("at-least-once".into()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments
}

/// What to do about a backend's exchange of a type that cannot route.
pub(crate) const TOPIC_NEEDED: &str = "have the backend publish to a topic exchange, and name it in LIFECYCLE_EXCHANGE";

/// Whether an exchange is of the type direct, by the broker's words about one that was declared as topic. It compares a routing key as
/// a whole; the other types route with the binding of the work queue, or by what somebody else has bound.
pub(crate) fn routes_by_whole_keys(words: &str) -> bool {
    words.contains("inequivalent arg 'type'") && words.contains("current is 'direct'")
}

/// Asks on a channel of its own, because the answer "no" closes it.
pub(in crate::broker) async fn exchange_is_there(connection: &Connection, name: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let found = answer(
        "look for an exchange",
        channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default()),
    )
    .await;
    there(&channel, found).await
}

pub(in crate::broker) async fn queue_is_there(connection: &Connection, name: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let found = answer("look for a queue", channel.queue_declare(name.into(), options, FieldTable::default())).await;
    there(&channel, found.map(drop)).await
}

async fn there(channel: &Channel, found: Result<(), BrokerError>) -> Result<bool, BrokerError> {
    let Err(error) = found else {
        answer("close a channel", channel.close(200, "done".into())).await?;
        return Ok(true);
    };
    match &error {
        BrokerError::Failed { cause, .. } => match BrokerError::soft_error(cause) {
            Some(AMQPSoftError::NOTFOUND) => Ok(false),
            // 4.2.6 and 4.3.0 want the permission to configure even for a look: it is there, more we may not know.
            Some(AMQPSoftError::ACCESSREFUSED) => Ok(true),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

fn explained(error: BrokerError, what: &str, name: &str) -> BrokerError {
    let BrokerError::Failed { cause, .. } = &error else { return error };
    let words = BrokerError::words(cause);
    match BrokerError::soft_error(cause) {
        Some(AMQPSoftError::PRECONDITIONFAILED) => BrokerError::Topology(format!(
            "{what} {name} is there with other properties than this program gives it ({words}); delete it once it is empty, or set LIFECYCLE_TOPOLOGY=verify to use it as it is"
        )),
        Some(AMQPSoftError::ACCESSREFUSED) => BrokerError::Topology(format!(
            "the RabbitMQ user may not declare {what} {name} ({words}); grant it the permission to configure, or have the topology made by somebody else and set LIFECYCLE_TOPOLOGY=verify"
        )),
        _ => error,
    }
}
