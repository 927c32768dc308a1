//! Publishing through the faults, as a careful backend does.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};

/// So that the fault comes in the middle.
const BETWEEN_MESSAGES: Duration = Duration::from_millis(15);

/// As a careful backend does: what is not confirmed is published again, so that it may exist twice.
pub(super) async fn publish_until_confirmed(url: String, exchange: String, mut bodies: Vec<Vec<u8>>) {
    let began = Instant::now();
    while !bodies.is_empty() {
        assert!(began.elapsed() < Duration::from_mins(3), "the broker takes nothing");
        if publish_first(&url, &exchange, &mut bodies).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Publishes from the last to the first, and removes what is confirmed.
async fn publish_first(url: &str, exchange: &str, bodies: &mut Vec<Vec<u8>>) -> Result<(), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    while let Some(body) = bodies.last() {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let key = "event.status.confirmed".into();
        let confirm = channel.basic_publish(exchange.into(), key, options, body, properties).await?;
        let confirmation = confirm.await?;
        if confirmation.is_ack() && confirmation.take_message().is_none() {
            bodies.pop();
        }
        tokio::time::sleep(BETWEEN_MESSAGES).await;
    }
    connection.close(200, "done".into()).await.ok();
    Ok(())
}
