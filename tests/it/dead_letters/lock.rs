//! The lock that keeps two `dlq` commands apart.

use crate::support::{Servers, World, as_user, finish};

#[tokio::test]
async fn without_the_permission_for_the_lock_dead_letters_are_read_all_the_same_and_the_risk_is_told() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let worker = world.worker().await;
    world.publish_raw(&[b"not json".to_vec()]).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 1.0).await;
    worker.stop().await;
    let name = format!("{}-reader", world.name());
    let control = |words: &[&str]| servers.control(&[&["rabbitmq", "ctl"], words].concat());
    control(&["add_user", &name, "secret"]);
    control(&["set_permissions", "-p", "/", &name, "^$", ".*", ".*"]);
    let mut list = world.program(&["dlq", "list"]);
    list.env("AMQP_URL", as_user(&world.servers.amqp_url, &name, "secret"));
    let listed = finish(list);
    control(&["delete_user", &name]);
    assert_eq!((listed.code, listed.json().as_array().map(Vec::len)), (0, Some(1)), "{listed:?}");
    assert!(listed.stderr.contains("no permission to configure the lock queue"), "{listed:?}");
}
