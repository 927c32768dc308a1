use std::time::Duration;

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep};

use crate::broker::connection::connect::{answer, open_channel};
use crate::broker::error::BrokerError;

/// For another `dlq` command to end: enough for a short one; longer than this an operator wants to know what blocks.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to get the lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Declares the exclusive queue that is the lock, once no other connection holds it.
pub(super) async fn lock(connection: &Connection, name: &str) -> Result<(), BrokerError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let channel = open_channel(connection).await?;
        // exclusive: one connection's, and deleted with it however it ends.
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let declaring = channel.queue_declare(name.into(), options, FieldTable::default());
        let Err(error) = answer("lock the dead-letter queue", declaring).await else { return Ok(()) };
        match error.soft_error() {
            Some(AMQPSoftError::RESOURCELOCKED) if Instant::now() < deadline => sleep(RETRY_INTERVAL).await,
            Some(AMQPSoftError::RESOURCELOCKED) => {
                return Err(BrokerError::Topology(
                    "another dlq command is at work on this queue; wait for it, or end it".to_owned(),
                ));
            }
            Some(AMQPSoftError::ACCESSREFUSED) => {
                tracing::warn!(
                    queue = name,
                    "no permission to configure the lock queue: make sure that no other dlq command is at work"
                );
                return Ok(());
            }
            _ => return Err(error),
        }
    }
}
