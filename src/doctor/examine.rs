use super::check_id::CheckId;
use super::database::{PassIntervals, examine_database};
use super::expectations::BrokerExpectations;
use super::finding::Finding;
use super::rabbitmq::examine_rabbitmq;
use super::report::Report;
use crate::broker::Topology;
use crate::config::WorkerOptions;

/// Checks what `run` would work with. `probe` also sends a message through each exchange that has to take one.
pub async fn examine(worker: WorkerOptions, probe: bool) -> Report {
    let WorkerOptions { database, broker, messages, passes, http, process } = worker;
    // An unusable value has ended the program before.
    let mut checks = vec![Finding::ok(
        CheckId::Configuration,
        format!(
            "every value is usable; `run` would serve HTTP on {}, and stop within {:?}",
            http.http_addr, process.shutdown_timeout
        ),
    )];
    let intervals = PassIntervals { sweep_interval: passes.sweep_interval, evict_interval: passes.evict_interval };
    let database = examine_database(database.database_url.as_ref(), intervals).await;
    checks.extend(database.findings);
    let expected = BrokerExpectations {
        topology: Topology::new(broker.exchange, broker.queue, messages.topology),
        mode: messages.topology,
        publishes: database.outbox_installed,
        probe,
    };
    checks.extend(examine_rabbitmq(broker.amqp_url.as_ref(), expected).await);
    Report::from(checks)
}
