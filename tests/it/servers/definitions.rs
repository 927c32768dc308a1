//! Exchanges and queues that somebody else imports, as deploy/rabbitmq/definitions.json: the worker uses them as its own.

use crate::support::{Servers, Snapshot, TempFile, World, checkup_with, eventually, finish, on_a_terminal, program};

const SHIPPED: &str = include_str!("../../../deploy/rabbitmq/definitions.json");

#[test]
fn shipped_definitions_are_what_the_command_prints() {
    let printed = finish(program(&["topology", "--output", "json"]));
    assert_eq!((printed.code, printed.stdout.as_str()), (0, SHIPPED), "write the file again by this command");
}

#[test]
fn table_names_each_exchange_and_queue_and_fits_a_terminal() {
    let (code, shown) = on_a_terminal(80, &program(&["topology", "--exchange", "bookings", "--queue", "tidy"]));
    assert_eq!(code, 0, "{shown}");
    for name in ["bookings", "tidy", "tidy.dlx", "tidy.retry", "tidy.dead-letter", "tidy.wait.10m"] {
        assert!(shown.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{name}: {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[tokio::test]
async fn imported_definitions_are_used_by_a_worker_that_verifies_and_by_one_that_declares() {
    let servers = Servers::private();
    let ctl = |arguments: &[&str]| servers.control(&[&["rabbitmq", "ctl", "--quiet"], arguments].concat());
    let world = World::on(servers.pair()).await;
    let vhost = world.name();
    let url = format!("{}/{vhost}", world.servers.amqp_url.rsplit_once('/').unwrap().0);
    let mut command = program(&["topology", "--output", "json"]);
    command.env("AMQP_URL", &url);
    let definitions = finish(command).stdout;
    assert_eq!(definitions, SHIPPED.replace("\"/\"", &format!("\"{vhost}\"")), "the vhost is the only difference");

    let file = TempFile::new(definitions);
    ctl(&["import_definitions", file.path()]);
    // One to the default exchange for each of 6 queues, and our 7.
    let bindings = || ctl(&["list_bindings", "-p", vhost, "destination_name", "--no-table-headers"]);
    eventually("the import to end", async || bindings().split('\n').count() == 13).await;
    ctl(&["set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"]);

    let (team, event) = (world.team().await, world.event().await);
    for mode in ["verify", "declare"] {
        world.insert(&Snapshot::of(team).event(event)).await;
        let variables = [
            ("AMQP_URL", url.as_str()),
            ("LIFECYCLE_EXCHANGE", "event.status"),
            ("LIFECYCLE_QUEUE", "snapshot-lifecycle"),
            ("LIFECYCLE_TOPOLOGY", mode),
        ];
        let worker = world.worker_with(&variables).await;
        let doctor = checkup_with(&world, &variables);
        let broker: Vec<_> =
            doctor.checks.iter().filter(|line| line["check"].as_str().unwrap().starts_with("rabbitmq.")).collect();
        assert!(broker.len() > 5 && broker.iter().all(|line| line["state"] == "ok"), "{mode}: {broker:#?}");

        let mut publish = world.program(&["publish", "--event-id", &event.to_string(), "--status", "confirmed"]);
        publish.envs(variables);
        let published = finish(publish);
        assert_eq!(published.code, 0, "{mode}: {published:?}");
        worker.reaches("snapshots_deleted_total{rule=\"event_end\"}", 1.0).await;
        worker.stop().await;
    }
    ctl(&["delete_vhost", vhost]);
}
