//! The exchanges and queues as they should be, with a reason for each argument.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};

use super::names::{BACK_TO_WORK, Topology};
use crate::policy::DELAYS;

/// Deliveries of one message before the broker dead-letters it: RabbitMQ 4's default, set because 3.10 has none. It ends a message that
/// crashes the worker. An outage costs a message one delivery, however long it lasts.
const DELIVERY_LIMIT: i64 = 20;
/// For the dead-letter queue: never reached. Without a limit RabbitMQ 4.x would apply 20, and up to 4.2 each `dlq` command counts as a
/// delivery; and 3.10 returns a message to its place only in a queue that has a limit.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;
/// For the work queue: never reached. RabbitMQ lets a publisher that it has refused publish again only when it sees the queue fall
/// below a limit. Its own publisher, which moves messages out of a wait queue, lives as long as that queue's leader. So when a policy's
/// limit is removed while the queue is full, those messages would stay for ever; with this limit they move.
const NO_LENGTH_LIMIT: i64 = 1_000_000_000;

/// A queue as it should be.
pub(in crate::broker) struct PlannedQueue {
    pub(in crate::broker) name: String,
    pub(in crate::broker) arguments: FieldTable,
    /// The arguments of an earlier version, whose queue is used as it is.
    pub(in crate::broker) earlier: Option<FieldTable>,
    /// Exchange and routing key.
    pub(in crate::broker) bindings: Vec<(String, &'static str)>,
}

/// The worker's own exchanges.
pub(in crate::broker) fn own_exchanges(topology: &Topology) -> [(String, ExchangeKind); 2] {
    [
        // fanout: whatever routing key a dead letter has, it belongs into the one queue.
        (topology.dead_letter_exchange(), ExchangeKind::Fanout),
        // direct: the routing key is the name of the delay.
        (topology.retry_exchange(), ExchangeKind::Direct),
    ]
}

/// Every queue, in the order of declaring: a queue comes after the one to which its messages are dead-lettered.
pub(in crate::broker) fn planned_queues(topology: &Topology) -> Vec<PlannedQueue> {
    let dead_letters = PlannedQueue {
        name: topology.dead_letter_queue(),
        arguments: quorum([("x-delivery-limit", NO_DELIVERY_LIMIT.into())]),
        earlier: None,
        bindings: vec![(topology.dead_letter_exchange(), "")],
    };
    let waits = DELAYS.iter().map(|(name, delay)| PlannedQueue {
        name: topology.wait_queue(name),
        arguments: dead_lettering(
            &topology.retry_exchange(),
            [
                // On the queue, not on each message: messages expire only at the head of a queue, so with mixed delays each would
                // wait for the longest before it.
                ("x-message-ttl", i64::try_from(delay.as_millis()).unwrap_or(i64::MAX).into()),
                ("x-dead-letter-routing-key", AMQPValue::LongString(BACK_TO_WORK.into())),
            ],
        ),
        earlier: None,
        bindings: vec![(topology.retry_exchange(), name)],
    });
    [dead_letters, work_queue(topology)].into_iter().chain(waits).collect()
}

fn work_queue(topology: &Topology) -> PlannedQueue {
    let earlier = dead_lettering(&topology.dead_letter_exchange(), [("x-delivery-limit", DELIVERY_LIMIT.into())]);
    let mut arguments = earlier.clone();
    arguments.insert("x-max-length".into(), NO_LENGTH_LIMIT.into());
    PlannedQueue {
        name: topology.queue().to_owned(),
        arguments,
        earlier: Some(earlier),
        bindings: vec![(topology.exchange().to_owned(), "event.status.#"), (topology.retry_exchange(), BACK_TO_WORK)],
    }
}

/// A queue that is replicated where there is more than one node. Set explicitly, because a vhost may have another default.
fn quorum<const N: usize>(more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in more {
        arguments.insert(name.into(), value);
    }
    arguments
}

/// A quorum queue whose own dead-lettering loses nothing: at-least-once needs `reject-publish`, and without it falls back to
/// at-most-once silently.
fn dead_lettering<const N: usize>(exchange: &str, more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = quorum(more);
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(exchange.into()));
    arguments.insert("x-dead-letter-strategy".into(), AMQPValue::LongString("at-least-once".into()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments
}
