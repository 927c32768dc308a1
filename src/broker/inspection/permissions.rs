//! A permission is asked for by a request for which the broker checks permissions and which it then refuses for another reason, so that
//! nothing is changed.

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ExchangeKind};

use crate::broker::connection::connect::{answer, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::names::Topology;
use crate::broker::topology::plan::{own_exchanges, planned_queues};
use crate::broker::topology::verify::exchange_exists;

/// The operation of every request, for errors that say nothing of a permission.
const ASK: &str = "ask for a permission";

/// What the worker must be allowed and its user is not, each to complete the sentence "it may not …".
pub(super) async fn missing_permissions(
    connection: &Connection,
    topology: &Topology,
    declares: bool,
) -> Result<Vec<String>, BrokerError> {
    let mut missing = Vec::new();
    if !may_consume(connection, topology.queue()).await? {
        missing.push(format!("read queue {}", topology.queue()));
    }
    let own = own_exchanges(topology).map(|(name, _)| name);
    for exchange in &own {
        if !may_publish(connection, exchange).await? {
            missing.push(format!("write to exchange {exchange}"));
        }
    }
    if !declares {
        return Ok(missing);
    }
    let mut exchanges = own.to_vec();
    // A backend's exchange that exists is used as it is.
    if !exchange_exists(connection, topology.exchange()).await? {
        exchanges.push(topology.exchange().to_owned());
    }
    for exchange in exchanges {
        if !may_declare_exchange(connection, &exchange).await? {
            missing.push(format!("configure exchange {exchange}"));
        }
    }
    for queue in planned_queues(topology) {
        if !may_declare_queue(connection, &queue.name).await? {
            missing.push(format!("configure queue {}", queue.name));
        }
        for (exchange, _) in &queue.bindings {
            if !may_bind(connection, &queue.name, exchange).await? {
                missing.push(format!("bind queue {} to exchange {exchange} (write and read)", queue.name));
            }
        }
    }
    Ok(missing)
}

/// An expiration that is no number is refused after the permission was checked and before the message is routed.
pub(super) async fn may_publish(connection: &Connection, exchange: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    // In confirm mode, so that there is an answer at all.
    answer("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let refused = BasicProperties::default().with_expiration("never".into());
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let published =
        answer(ASK, async { channel.basic_publish(exchange.into(), "".into(), options, b"", refused).await?.await });
    is_allowed(published.await.map(drop))
}

/// A consumer's priority that is no number is refused after the permission was checked and before anything is delivered.
async fn may_consume(connection: &Connection, queue: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    let refused = argument("x-priority", AMQPValue::LongString("none".into()));
    let consuming = channel.basic_consume(queue.into(), "doctor".into(), BasicConsumeOptions::default(), refused);
    is_allowed(answer(ASK, consuming).await.map(drop))
}

/// A queue's life time that is no number is refused after the permission was checked, whether the queue exists or not.
async fn may_declare_queue(connection: &Connection, queue: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let refused = argument("x-expires", AMQPValue::LongString("never".into()));
    is_allowed(answer(ASK, channel.queue_declare(queue.into(), options, refused)).await.map(drop))
}

/// An alternate exchange that is no name is refused after the permission was checked, whether the exchange exists or not.
async fn may_declare_exchange(connection: &Connection, exchange: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let refused = argument("alternate-exchange", AMQPValue::Boolean(true));
    is_allowed(answer(ASK, channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, refused)).await)
}

/// Unbinding what was never bound needs the permissions of binding, and does nothing.
async fn may_bind(connection: &Connection, queue: &str, exchange: &str) -> Result<bool, BrokerError> {
    let channel = open_channel(connection).await?;
    let never_bound = format!("doctor.{}", uuid::Uuid::new_v4());
    let unbinding =
        channel.queue_unbind(queue.into(), exchange.into(), never_bound.as_str().into(), FieldTable::default());
    is_allowed(answer(ASK, unbinding).await)
}

fn argument(name: &str, value: AMQPValue) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(name.into(), value);
    table
}

/// Only a refused access is a no: every other answer came after the permission was found.
fn is_allowed(answered: Result<(), BrokerError>) -> Result<bool, BrokerError> {
    match answered {
        Ok(()) => Ok(true),
        Err(error) => error.into_soft_error().map(|(soft, _)| soft != AMQPSoftError::ACCESSREFUSED),
    }
}
