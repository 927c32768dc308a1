//! Declares what is missing, and lets the broker compare what exists.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};

use super::names::Topology;
use super::plan::{PlannedQueue, own_exchanges, planned_queues};
use super::verify::exchange_exists;
use crate::broker::connection::connect::{answer, close_channel, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::reply::reply_text;

/// How to fix a backend's exchange of a type that cannot route.
pub(crate) const TOPIC_NEEDED: &str = "have the backend publish to a topic exchange, and name it in LIFECYCLE_EXCHANGE";

pub(super) async fn declare(topology: &Topology, connection: &Connection) -> Result<(), BrokerError> {
    declare_backend_exchange(topology.exchange(), connection).await?;
    let channel = open_channel(connection).await?;
    for (name, kind) in own_exchanges(topology) {
        declare_exchange(&channel, &name, kind).await?;
    }
    for queue in planned_queues(topology) {
        declare_queue(connection, &queue).await.map_err(|error| explained(error, "queue", &queue.name))?;
        for (exchange, key) in &queue.bindings {
            bind(&channel, &queue.name, exchange, key).await?;
        }
    }
    close_channel(&channel).await
}

/// The exchange is the backend's: where it exists with properties of its own, such as an alternate exchange, it is used as it is.
async fn declare_backend_exchange(exchange: &str, connection: &Connection) -> Result<(), BrokerError> {
    let channel = open_channel(connection).await?;
    let error = match declare_exchange(&channel, exchange, ExchangeKind::Topic).await {
        Ok(()) => return close_channel(&channel).await,
        Err(error) => error,
    };
    if matches!(error, BrokerError::Topology(_)) && exchange_exists(connection, exchange).await? {
        if is_direct_exchange(&error.to_string()) {
            return Err(BrokerError::Topology(format!(
                "exchange {exchange} is a direct exchange, to which event.status.# means nothing, so no message would ever arrive; {TOPIC_NEEDED}"
            )));
        }
        tracing::warn!(
            exchange,
            "exchange exists with other properties than a durable topic exchange; using it as it is"
        );
        return Ok(());
    }
    Err(error)
}

/// Whether an exchange is of the type direct, by the broker's reply text about declaring it as topic. A direct exchange compares a
/// routing key as a whole; the other types route by the binding of the work queue, or by bindings that somebody else has made.
pub(crate) fn is_direct_exchange(reply_text: &str) -> bool {
    reply_text.contains("inequivalent arg 'type'") && reply_text.contains("current is 'direct'")
}

async fn declare_exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    // durable: it must exist after a restart of the broker, or messages would be unroutable.
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declaring = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    answer("declare an exchange", declaring).await.map_err(|error| explained(error, "exchange", name))
}

/// Declares a queue, or has the broker agree that it exists as it should be or as an earlier version has declared it.
pub(in crate::broker) async fn declare_queue(connection: &Connection, queue: &PlannedQueue) -> Result<(), BrokerError> {
    // durable: required of quorum queues. Neither exclusive nor auto-delete: it outlives every worker.
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut declared = Ok(());
    for arguments in [Some(&queue.arguments), queue.earlier.as_ref()].into_iter().flatten() {
        // A channel for each attempt, because a refusal closes it.
        let channel = open_channel(connection).await?;
        let declaring = channel.queue_declare(queue.name.as_str().into(), options, arguments.clone());
        declared = answer("declare a queue", declaring).await.map(drop);
        match &declared {
            Ok(()) => return close_channel(&channel).await,
            Err(error) if error.soft_error() == Some(AMQPSoftError::PRECONDITIONFAILED) => {}
            Err(_) => break,
        }
    }
    declared
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, routing_key: &str) -> Result<(), BrokerError> {
    let options = QueueBindOptions::default();
    let binding = channel.queue_bind(queue.into(), exchange.into(), routing_key.into(), options, FieldTable::default());
    answer("bind a queue", binding).await.map_err(|error| explained(error, "queue", queue))
}

fn explained(error: BrokerError, what: &str, name: &str) -> BrokerError {
    let BrokerError::Failed { cause, .. } = &error else { return error };
    let text = reply_text(cause);
    match error.soft_error() {
        Some(AMQPSoftError::PRECONDITIONFAILED) => BrokerError::Topology(format!(
            "{what} {name} exists with other properties than this program gives it ({text}); delete it once it is empty, or set LIFECYCLE_TOPOLOGY=verify to use it as it is"
        )),
        Some(AMQPSoftError::ACCESSREFUSED) => BrokerError::Topology(format!(
            "the RabbitMQ user may not declare {what} {name} ({text}); grant it the permission to configure, or have somebody else declare the topology and set LIFECYCLE_TOPOLOGY=verify"
        )),
        _ => error,
    }
}
