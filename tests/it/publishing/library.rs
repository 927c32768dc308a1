//! Publishing from a Rust program.

use std::time::Duration;

use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, Outgoing, PublishStream, Publisher};
use snapshot_lifecycle::{EventStatus, PublishError, Setting, StatusMessage, StatusPublisher};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Proxy, Servers, Snapshot, World, as_user, eventually, host_of};

fn message(event: Uuid) -> StatusMessage {
    StatusMessage::new(event, EventStatus::Confirmed, OffsetDateTime::now_utc())
}

fn publisher(world: &World) -> StatusPublisher {
    StatusPublisher::new(&world.servers.amqp_url, world.exchange.as_str()).unwrap()
}

#[tokio::test]
async fn message_of_the_library_is_confirmed_and_applied() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let publisher = publisher(&world);
    publisher.publish(&message(event)).await.unwrap();
    publisher.close().await;
    eventually("the row to be gone", async || world.snapshots().await.is_empty()).await;
    worker.stop().await;
}

#[tokio::test]
async fn eight_tasks_share_a_publisher() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let publisher = publisher(&world);
    let messages: Vec<_> = (0..1500).map(|_| message(Uuid::new_v4())).collect();
    let calls = (0..8).map(|_| publisher.publish_all(&messages));
    for answers in futures_util::future::join_all(calls).await {
        assert!(answers.len() == 1500 && answers.iter().all(Result::is_ok));
    }
    publisher.close().await;
    eventually("all to be in the queue", async || world.depth(&world.queue).await == 12_000).await;
}

#[tokio::test]
async fn stream_has_at_most_2000_messages_in_flight() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let address = BrokerAddress::parse(Some(&SecretString::from(world.servers.amqp_url.clone()))).unwrap();
    let mut stream = PublishStream::open(&address).await.unwrap();
    for number in 1..=5000 {
        assert!(stream.send(number, Outgoing::status(&world.exchange, &message(Uuid::new_v4())).unwrap()).await);
        assert!(number - stream.confirmed() <= 2000, "{number} sent, {} confirmed", stream.confirmed());
    }
    while stream.confirmed() < 5000 {
        assert!(stream.listen().await);
    }
    let more = tokio::time::timeout(Duration::from_millis(200), stream.listen()).await;
    assert!(more.is_err(), "there is nothing to wait for");
    let report = stream.finish().await;
    assert_eq!((report.confirmed, report.first_failure.is_none()), (5000, true));
    assert_eq!(world.depth(&world.queue).await, 5000);
}

#[tokio::test]
async fn rejected_messages_cost_their_neighbours_nothing_and_are_not_sent_again_for_ever() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let address = BrokerAddress::parse(Some(&SecretString::from(world.servers.amqp_url.clone()))).unwrap();
    let publisher = Publisher::new(address);
    let to = |exchange| Outgoing::status(exchange, &message(Uuid::new_v4())).unwrap();
    let (bad, good) = (to("no such exchange"), to(&world.exchange));
    let results = publisher.publish(&[&bad, &good]).await;
    assert!(matches!(results[..], [Err(PublishError::Rejected(_)), Ok(())]), "{results:?}");
    let results = publisher.publish(&[&bad; 100]).await;
    assert!(matches!(results[0], Err(PublishError::Rejected(_))), "{results:?}");
    let last = results[99].clone().unwrap_err().to_string();
    assert!(last.contains("too many"), "{last}");
    publisher.close().await;
}

#[tokio::test]
async fn unroutable_is_told_at_once() {
    let world = World::new().await;
    world.worker().await.stop().await;
    world.unbind_queue().await;
    let answer = publisher(&world).publish(&message(Uuid::new_v4())).await;
    assert!(matches!(answer, Err(PublishError::Unroutable { .. })), "{answer:?}");
}

#[tokio::test]
async fn broker_that_stays_away_runs_into_the_time_out() {
    let publisher = StatusPublisher::new("amqp://127.0.0.1:1", "none").unwrap().with_timeout(Duration::from_secs(1));
    let answer = publisher.publish(&message(Uuid::new_v4())).await;
    assert!(matches!(answer, Err(PublishError::Unconfirmed(_))), "{answer:?}");
}

#[tokio::test]
async fn connection_on_which_a_confirm_did_not_come_is_used_no_more() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let url = SecretString::from(proxy.url(&world.servers.amqp_url));
    let publisher = Publisher::new(BrokerAddress::parse(Some(&url)).unwrap()).with_timeout(Duration::from_secs(5));
    let outgoing = || Outgoing::status(&world.exchange, &message(Uuid::new_v4())).unwrap();
    assert_eq!(publisher.publish(&[&outgoing()]).await, [Ok(())]);
    proxy.abandon_connections();
    let answers = publisher.publish(&[&outgoing()]).await;
    assert!(matches!(answers[..], [Err(PublishError::Unconfirmed(_))]), "{answers:?}");
    assert_eq!(publisher.publish(&[&outgoing()]).await, [Ok(())]);
    assert_eq!(world.depth(&world.queue).await, 2, "the first and the last");
}

/// A limit of a policy that comes and goes, as an operator who makes room in a hurry sets it.
#[tokio::test]
async fn publisher_that_was_refused_publishes_again_when_the_limit_is_gone() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let (dlx, pattern) = (format!("{}.dlx", world.queue), format!("^{}.dead-letter$", world.queue));
    let url = SecretString::from(world.servers.amqp_url.clone());
    let publisher = Publisher::new(BrokerAddress::parse(Some(&url)).unwrap());
    let publish =
        async || publisher.publish(&[&Outgoing::status(&dlx, &message(Uuid::new_v4())).unwrap()]).await.remove(0);
    let policy = r#"{"max-length": 1, "overflow": "reject-publish"}"#;
    servers.control(&["rabbitmq", "ctl", "set_policy", "limit", &pattern, policy]);
    eventually("the queue to be full", async || publish().await == Err(PublishError::Refused)).await;
    assert_eq!(publish().await, Err(PublishError::Refused), "as long as it is full");
    servers.control(&["rabbitmq", "ctl", "clear_policy", "limit"]);
    eventually("the limit to be gone", async || publish().await == Ok(())).await;
    publisher.close().await;
}

#[tokio::test]
async fn broker_that_was_killed_is_found_again_by_the_next_call() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let publisher = publisher(&world);
    publisher.publish(&message(Uuid::new_v4())).await.unwrap();
    servers.control(&["rabbitmq", "kill"]);
    servers.control(&["rabbitmq", "start"]);
    publisher.publish(&message(Uuid::new_v4())).await.unwrap();
    eventually("both to be in the queue", async || world.depth(&world.queue).await >= 2).await;
}

#[tokio::test]
async fn time_without_end_and_names_and_dates_beyond_their_limits_are_no_panic() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let without_timeout = publisher(&world).with_timeout(Duration::MAX);
    without_timeout.publish(&message(Uuid::new_v4())).await.unwrap();
    let year_10_000 = time::macros::datetime!(9999-12-31 23:59:59 -2:00);
    let late = StatusMessage::new(Uuid::new_v4(), EventStatus::Confirmed, year_10_000);
    let answer = without_timeout.publish(&late).await;
    assert!(matches!(answer, Err(PublishError::Invalid(_))), "{answer:?}");
    without_timeout.close().await;
}

#[test]
fn arguments_that_cannot_work_are_errors_of_new_by_their_names() {
    for exchange in ["", &"x".repeat(256), "two\nlines"] {
        let error = StatusPublisher::new("amqp://127.0.0.1:1", exchange).unwrap_err();
        assert_eq!((error.setting, &error.to_string()[..9]), (Setting::Exchange, "exchange "));
    }
    assert!(StatusPublisher::new("amqp://127.0.0.1:1", "x".repeat(255)).is_ok());
    let error = StatusPublisher::new("http://user:hidden@host", "e").unwrap_err().to_string();
    assert!(error.starts_with("amqp_url ") && !error.contains("AMQP_URL") && !error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn failure_to_connect_shows_neither_the_password_nor_a_variable_of_the_program() {
    let world = World::new().await;
    let url = as_user(&world.servers.amqp_url, "nobody", "hidden");
    let publisher = StatusPublisher::new(&url, world.exchange.as_str()).unwrap();
    let refused = publisher.publish(&message(Uuid::new_v4())).await.unwrap_err();
    assert!(matches!(refused, PublishError::Rejected(_)) && !refused.is_transient(), "{refused:?}");
    for text in [refused.to_string(), format!("{publisher:?}")] {
        assert!(!text.contains("hidden") && !text.contains("AMQP_URL"), "{text}");
    }
}

#[test]
fn what_lasts_and_what_passes() {
    let unroutable = PublishError::Unroutable { exchange: "e".to_owned(), routing_key: "k".to_owned() };
    assert!(!unroutable.is_transient() && !PublishError::Rejected("not permitted".to_owned()).is_transient());
    assert!(PublishError::Refused.is_transient() && PublishError::Unconfirmed("away".to_owned()).is_transient());
}
