//! A walk over the dead-letter queue, as the commands use it.

use std::time::Duration;

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, BrokerError, DeadLetterQueue, Topology};
use snapshot_lifecycle::config::TopologyMode;

use crate::support::{ReceivedMessage, World};

async fn open(world: &World) -> Result<DeadLetterQueue, BrokerError> {
    let address = BrokerAddress::parse(Some(&SecretString::from(world.servers.amqp_url.clone()))).unwrap();
    let topology = Topology::new(world.exchange.clone(), world.queue.clone(), TopologyMode::Declare);
    DeadLetterQueue::open(&address, &topology).await
}

/// The ids of all that a walk meets; the dead letter at `remove` is taken out.
async fn walk(queue: &mut DeadLetterQueue, remove: Option<usize>) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(held) = queue.next().await.unwrap() {
        if remove == Some(ids.len()) {
            queue.remove(&held).await.unwrap();
        }
        ids.push(held.letter.message_id.clone().unwrap());
    }
    ids
}

#[tokio::test]
async fn walk_reads_the_dead_letters_that_existed_at_its_start_and_the_next_begins_with_the_oldest_that_are_left() {
    let world = World::with_queues().await;
    let mut ids = world.add_dead_letters(9, "attempts_exhausted").await;
    let mut queue = open(&world).await.unwrap();
    assert_eq!(queue.letters(), 9);
    let later = world.add_dead_letters(3, "attempts_exhausted").await;

    assert_eq!(walk(&mut queue, Some(1)).await, ids);
    assert_eq!(queue.arrived().await.unwrap(), 3);
    ids.remove(1);
    queue.requeue(100).await.unwrap();
    assert_eq!(queue.letters(), 8);
    assert_eq!(walk(&mut queue, None).await, ids);
    queue.requeue(5).await.unwrap();
    assert_eq!(walk(&mut queue, None).await, ids[..5]);
    queue.close().await;

    ids.extend(later);
    let left = world.drain(&format!("{}.dead-letter", world.queue)).await;
    assert_eq!(left.iter().map(ReceivedMessage::message_id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn second_walk_waits_for_the_first_and_gives_up_after_some_seconds() {
    let world = World::with_queues().await;
    let first = open(&world).await.unwrap();
    let (second, ()) = tokio::join!(open(&world), async {
        // Held long enough for the second to meet it. Where it comes later, it meets nobody, and only the last open shows the wait.
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.close().await;
    });
    let second = second.expect("the first ended in time");
    let error = open(&world).await.err().expect("the second is at work").to_string();
    assert!(error.contains("another dlq command"), "{error}");
    second.close().await;
}
