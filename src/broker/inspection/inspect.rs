use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind};

use super::compare::{Comparison, compare_exchange, compare_queue};
use super::permissions::{may_publish, missing_permissions};
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::names::Topology;
use crate::broker::topology::plan::{own_exchanges, planned_queues};

/// A connection for inspecting the broker.
pub struct Inspection {
    connection: Connection,
    topology: Topology,
}

/// Messages and consumers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Ready, without the unacknowledged ones.
    pub messages: u32,
    /// Of all replicas.
    pub consumers: u32,
}

impl Inspection {
    /// Connects.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses the login.
    pub async fn open(address: &BrokerAddress, topology: Topology) -> Result<Self, BrokerError> {
        Ok(Self { connection: connect(address, "doctor").await?, topology })
    }

    /// The backend's exchange.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn exchange(&self) -> Result<Comparison, BrokerError> {
        compare_exchange(&self.connection, self.topology.exchange(), ExchangeKind::Topic).await
    }

    /// The worker's own exchanges, by name.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn own_exchanges(&self) -> Result<Vec<(String, Comparison)>, BrokerError> {
        let mut all = Vec::new();
        for (name, kind) in own_exchanges(&self.topology) {
            let comparison = compare_exchange(&self.connection, &name, kind).await?;
            all.push((name, comparison));
        }
        Ok(all)
    }

    /// The worker's queues, by name.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queues(&self) -> Result<Vec<(String, Comparison)>, BrokerError> {
        let mut all = Vec::new();
        for queue in planned_queues(&self.topology) {
            let comparison = compare_queue(&self.connection, &queue).await?;
            all.push((queue.name, comparison));
        }
        Ok(all)
    }

    /// How full a queue is, and how many consume from it; `None` where it is missing or may not be inspected.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn state(&self, queue: &str) -> Result<Option<QueueState>, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        // passive: asks, never creates.
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declaring = channel.queue_declare(queue.into(), options, FieldTable::default());
        match answer("inspect a queue", declaring).await {
            Ok(queue) => Ok(Some(QueueState { messages: queue.message_count(), consumers: queue.consumer_count() })),
            Err(error) => error.into_soft_error().map(|_| None),
        }
    }

    /// Whether a `dlq` command is at work, which holds dead letters unacknowledged.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn dead_letters_are_locked(&self) -> Result<bool, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        // passive: asks, never creates. The lock is exclusive, so even asking for it is refused to another connection.
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let lock = self.topology.dead_letter_lock();
        let declaring = channel.queue_declare(lock.as_str().into(), options, FieldTable::default());
        match answer("look for a dlq command", declaring).await {
            Ok(_) => Ok(false),
            Err(error) => error.into_soft_error().map(|(soft, _)| soft == AMQPSoftError::RESOURCELOCKED),
        }
    }

    /// What the worker must be allowed and its user is not, each to complete the sentence "it may not …".
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn missing_permissions(&self, declares: bool) -> Result<Vec<String>, BrokerError> {
        missing_permissions(&self.connection, &self.topology, declares).await
    }

    /// Whether the user may publish to an exchange.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn may_publish(&self, exchange: &str) -> Result<bool, BrokerError> {
        may_publish(&self.connection, exchange).await
    }

    /// Closes the connection.
    pub async fn close(self) {
        close(&self.connection).await;
    }
}
