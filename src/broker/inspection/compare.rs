//! A queue's or an exchange's properties are compared by declaring it once more as it should be, and only where it exists: the broker
//! then agrees, or says in its reply text what differs.

use lapin::options::ExchangeDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind};

use crate::broker::connection::connect::{answer, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::declare::declare_queue;
use crate::broker::topology::plan::PlannedQueue;
use crate::broker::topology::verify::{exchange_exists, queue_exists};

/// How an exchange or a queue compares with what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// As it should be.
    Same,
    /// It does not exist.
    Missing,
    /// It differs; with the broker's reply text, which names the difference.
    Different(String),
    /// It exists, but the user has no permission to see more.
    Hidden,
}

pub(super) async fn compare_exchange(
    connection: &Connection,
    name: &str,
    kind: ExchangeKind,
) -> Result<Comparison, BrokerError> {
    if !exchange_exists(connection, name).await? {
        return Ok(Comparison::Missing);
    }
    let channel = open_channel(connection).await?;
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declaring = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    comparison(answer("compare an exchange", declaring).await)
}

pub(super) async fn compare_queue(connection: &Connection, queue: &PlannedQueue) -> Result<Comparison, BrokerError> {
    if !queue_exists(connection, &queue.name).await? {
        return Ok(Comparison::Missing);
    }
    comparison(declare_queue(connection, queue).await)
}

fn comparison(declared: Result<(), BrokerError>) -> Result<Comparison, BrokerError> {
    let Err(error) = declared else { return Ok(Comparison::Same) };
    let (soft, text) = error.into_soft_error()?;
    Ok(match soft {
        AMQPSoftError::ACCESSREFUSED => Comparison::Hidden,
        _ => Comparison::Different(text),
    })
}
