//! Messages that the broker closes the channel over, and those that are published beside them.

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, Outgoing, Publisher};
use snapshot_lifecycle::{EventStatus, PublishError, StatusMessage};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::World;

fn message(exchange: &str) -> Outgoing {
    let message = StatusMessage::new(Uuid::new_v4(), EventStatus::Confirmed, OffsetDateTime::now_utc());
    Outgoing::status(exchange, &message).unwrap()
}

/// Publishes to these exchanges in one call. What became of each: confirmed, rejected, or not sent again.
async fn publish(world: &World, exchanges: &[&str]) -> Vec<&'static str> {
    let url = SecretString::from(world.servers.amqp_url.clone());
    let publisher = Publisher::new(BrokerAddress::parse(Some(&url)).unwrap());
    let messages: Vec<_> = exchanges.iter().map(|exchange| message(exchange)).collect();
    let results = publisher.publish(&messages.iter().collect::<Vec<_>>()).await;
    publisher.close().await;
    let name = |result| match result {
        Ok(()) => "confirmed",
        Err(PublishError::Rejected(_)) => "rejected",
        Err(PublishError::Unconfirmed(why)) if why.contains("too many") => "not sent again",
        Err(other) => panic!("{other:?}"),
    };
    results.into_iter().map(name).collect()
}

#[tokio::test]
async fn message_beside_one_that_is_rejected_is_sent_again_and_confirmed() {
    let world = World::with_queues().await;
    assert_eq!(publish(&world, &["no-such-exchange", &world.exchange]).await, ["rejected", "confirmed"]);
    assert_eq!(world.depth(&world.queue).await, 1);
}

#[tokio::test]
async fn after_five_that_are_rejected_no_other_is_sent_again() {
    let world = World::with_queues().await;
    let mut exchanges = vec!["no-such-exchange"; 6];
    exchanges.push(&world.exchange);
    let expected = [vec!["rejected"; 5], vec!["not sent again"; 2]].concat();
    assert_eq!(publish(&world, &exchanges).await, expected);
}
