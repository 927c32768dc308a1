//! Whether exchanges and queues exist, without declaring any.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};

use super::names::Topology;
use super::plan::{own_exchanges, planned_queues};
use crate::broker::connection::connect::{answer, close_channel, open_channel};
use crate::broker::error::BrokerError;

/// Fails with a list of what is missing.
pub(super) async fn verify(topology: &Topology, connection: &Connection) -> Result<(), BrokerError> {
    let mut missing = Vec::new();
    let own = own_exchanges(topology).map(|(name, _)| name);
    for exchange in [topology.exchange().to_owned()].into_iter().chain(own) {
        if !exchange_exists(connection, &exchange).await? {
            missing.push(format!("exchange {exchange}"));
        }
    }
    for queue in planned_queues(topology) {
        if !queue_exists(connection, &queue.name).await? {
            missing.push(format!("queue {}", queue.name));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(BrokerError::Topology(format!(
        "missing in RabbitMQ: {}; create them, or let the worker do it with LIFECYCLE_TOPOLOGY=declare",
        missing.join(", ")
    )))
}

/// Asks on a channel of its own, because the answer "no" closes it.
pub(in crate::broker) async fn exchange_exists(connection: &Connection, name: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    // passive: asks, never creates. The kind is ignored.
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let declaring = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
    exists(&channel, answer("look for an exchange", declaring).await).await
}

/// Asks on a channel of its own, because the answer "no" closes it.
pub(in crate::broker) async fn queue_exists(connection: &Connection, name: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    // passive: asks, never creates.
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declaring = channel.queue_declare(name.into(), options, FieldTable::default());
    exists(&channel, answer("look for a queue", declaring).await.map(drop)).await
}

async fn exists(channel: &Channel, answer: Result<(), BrokerError>) -> Result<bool, BrokerError> {
    let Err(error) = answer else {
        close_channel(channel).await?;
        return Ok(true);
    };
    match error.soft_error() {
        Some(AMQPSoftError::NOTFOUND) => Ok(false),
        // 4.2.6 and 4.3.0 require the permission to configure even for a passive declaration: it exists, more is not shown.
        Some(AMQPSoftError::ACCESSREFUSED) => Ok(true),
        _ => Err(error),
    }
}
