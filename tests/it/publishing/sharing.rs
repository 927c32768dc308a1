//! One `StatusPublisher` for many tasks: calls share a connection and its confirms, and nothing else.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use snapshot_lifecycle::{EventStatus, PublishError, StatusMessage, StatusPublisher};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Network, Proxy, Servers, World, eventually, host_of};

fn message(status: EventStatus) -> StatusMessage {
    StatusMessage::new(Uuid::new_v4(), status, OffsetDateTime::now_utc())
}

/// A world with its queues, and a publisher through a proxy.
async fn by_proxy() -> (World, Proxy, StatusPublisher) {
    let world = World::with_queues().await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let publisher = StatusPublisher::new(&proxy.url(&world.servers.amqp_url), world.exchange.as_str()).unwrap();
    (world, proxy, publisher)
}

/// The results of calls at once, of which every other one says `confirmed` and the others `lead`.
async fn alternately(
    publisher: &StatusPublisher,
    calls: usize,
) -> (Vec<Result<(), PublishError>>, Vec<Result<(), PublishError>>) {
    let statuses = [EventStatus::Confirmed, EventStatus::Lead];
    let messages: Vec<_> = (0..calls).map(|call| message(statuses[call % 2])).collect();
    let results = join_all(messages.iter().map(|message| publisher.publish(message))).await;
    let of = |parity| results.iter().skip(parity).step_by(2).cloned().collect();
    (of(0), of(1))
}

/// A round trip takes 100 ms, so one call after another would take 100 s and run into the timeout.
#[tokio::test]
async fn thousand_tasks_share_a_connection_and_its_round_trips() {
    let (world, proxy, publisher) = by_proxy().await;
    let publisher = publisher.with_timeout(Duration::from_mins(1));
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    proxy.set(Network::Late);
    let call = |_| {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.publish(&message(EventStatus::Lead)).await })
    };
    for answer in join_all((0..1000).map(call)).await {
        assert_eq!(answer.unwrap(), Ok(()));
    }
    publisher.close().await;
    assert_eq!((world.depth(&world.queue).await, proxy.connections()), (1001, 1));
}

#[tokio::test]
async fn cancelled_calls_cost_neither_the_connection_nor_other_calls() {
    let (world, proxy, publisher) = by_proxy().await;
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    proxy.set(Network::Stalled);
    let messages: Vec<_> = (0..50).map(|_| message(EventStatus::Lead)).collect();
    let stays = messages[1..].iter().map(|message| publisher.publish(message));
    // Begun, and dropped while its confirm is outstanding.
    assert!(publisher.publish(&messages[0]).now_or_never().is_none());
    let mut stays = std::pin::pin!(join_all(stays));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut stays).await.is_err());
    for _ in 0..10 {
        let dropped = message(EventStatus::Lead);
        assert!(tokio::time::timeout(Duration::from_millis(1), publisher.publish(&dropped)).await.is_err());
    }
    proxy.set(Network::Open);
    assert!(stays.await.iter().all(Result::is_ok));
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    assert_eq!(proxy.connections(), 1);
    assert!(world.depth(&world.queue).await >= 51, "the first, those that stayed, and the last");
}

#[tokio::test]
async fn each_call_has_its_own_message_returned() {
    let (world, _proxy, publisher) = by_proxy().await;
    world.bind_queue("event.status.confirmed").await;
    world.unbind_queue().await;
    let (confirmed, lead) = alternately(&publisher, 200).await;
    assert!(confirmed.iter().all(Result::is_ok), "{confirmed:?}");
    assert!(lead.iter().all(|result| matches!(result, Err(PublishError::Unroutable { .. }))), "{lead:?}");
    assert_eq!(world.depth(&world.queue).await, 100);
}

/// RabbitMQ closes the channel over a routing key that the user may not publish with, and takes the neighbours' confirms with it.
#[tokio::test]
async fn rejected_calls_cost_their_neighbours_nothing() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let publisher = StatusPublisher::new(&world.servers.amqp_url, world.exchange.as_str()).unwrap();
    let permitted =
        ["rabbitmq", "ctl", "set_topic_permissions", "guest", &world.exchange, "^event.status.confirmed$", ".*"];
    servers.control(&permitted);
    let (confirmed, lead) = alternately(&publisher, 40).await;
    assert!(confirmed.iter().all(Result::is_ok), "{confirmed:?}");
    assert!(lead.iter().all(|result| matches!(result, Err(PublishError::Rejected(_)))), "{lead:?}");
    let (confirmed, lead) = alternately(&publisher.clone().with_connection_name("of this test"), 2).await;
    assert!(confirmed[0].is_ok() && lead[0].is_err());
    publisher.publish(&message(EventStatus::Confirmed)).await.unwrap();
    let named = publisher.clone().with_connection_name("of this test");
    named.publish(&message(EventStatus::Confirmed)).await.unwrap();
    // On a busy machine RabbitMQ lists a connection later than it opens it.
    eventually("both connections to be listed by their names", async || {
        let listed = servers.control(&["rabbitmq", "ctl", "list_connections", "client_properties"]);
        listed.contains("snapshot-lifecycle library") && listed.contains("of this test")
    })
    .await;
}

#[tokio::test]
async fn connection_that_is_silent_costs_the_calls_that_wait_and_not_the_next() {
    let (world, proxy, publisher) = by_proxy().await;
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    proxy.abandon_connections();
    let hasty = publisher.clone().with_timeout(Duration::from_secs(1));
    let late = hasty.publish(&message(EventStatus::Lead)).await;
    assert!(matches!(late, Err(PublishError::Unconfirmed(_))), "{late:?}");
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    assert_eq!((world.depth(&world.queue).await, proxy.connections()), (2, 2));
}

#[tokio::test]
async fn closing_ends_calls_that_would_wait_for_ever() {
    let (_world, proxy, publisher) = by_proxy().await;
    let publisher = publisher.with_timeout(Duration::MAX);
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    proxy.abandon_connections();
    let message_in_flight = message(EventStatus::Lead);
    let (result, ()) = tokio::join!(publisher.publish(&message_in_flight), publisher.close());
    assert_eq!(result, Err(PublishError::Unconfirmed("the publisher was closed".to_owned())));
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    // One that is closed by a call that is dropped itself.
    proxy.abandon_connections();
    let mut call = std::pin::pin!(publisher.publish(&message_in_flight));
    assert!(call.as_mut().now_or_never().is_none());
    assert!(publisher.close().now_or_never().is_none());
    assert!(matches!(call.await, Err(PublishError::Unconfirmed(_))));
}

#[tokio::test]
async fn last_clone_that_is_dropped_closes_the_connection() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let publisher = StatusPublisher::new(&world.servers.amqp_url, world.exchange.as_str()).unwrap();
    let clone = publisher.clone();
    clone.publish(&message(EventStatus::Lead)).await.unwrap();
    drop(clone);
    let connected =
        || servers.control(&["rabbitmq", "ctl", "list_connections", "client_properties"]).contains("library");
    publisher.publish(&message(EventStatus::Lead)).await.unwrap();
    eventually("the connection to be listed", async || connected()).await;
    drop(publisher);
    eventually("the connection to be closed", async || !connected()).await;
}

/// As where each test of a program has a runtime of its own, and they share a publisher.
#[tokio::test(flavor = "multi_thread")]
async fn publisher_outlives_the_runtime_that_it_connected_in() {
    let (world, _proxy, publisher) = by_proxy().await;
    for _ in 0..3 {
        let publisher = publisher.clone();
        let elsewhere = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(publisher.publish(&message(EventStatus::Lead)))
        };
        assert_eq!(std::thread::spawn(elsewhere).join().unwrap(), Ok(()));
    }
    assert_eq!(world.depth(&world.queue).await, 3);
}

#[test]
fn publisher_may_be_held_by_any_state_of_a_program() {
    fn is_shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    fn is_sent<F: Future + Send>(_: &F) {}
    let publisher = StatusPublisher::new("amqp://user:hidden@127.0.0.1:1", "e").unwrap();
    is_shared(&publisher);
    let lead = message(EventStatus::Lead);
    is_sent(&publisher.publish(&lead));
    is_sent(&publisher.close());
}
