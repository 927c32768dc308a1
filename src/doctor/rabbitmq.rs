use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use super::checks::connection::rabbitmq_not_connected;
use super::checks::delivery_limit::delivery_limit;
use super::checks::encryption::rabbitmq_encryption;
use super::checks::permissions::permissions;
use super::checks::probe::probe;
use super::checks::topology::{drift, exchange};
use super::checks::version::{Version, parsed, rabbitmq_version};
use crate::broker::{BrokerAddress, BrokerError, Compared, Inspection, Topology, greeting};
use crate::config::TopologyMode;

/// How the worker is meant to use the broker.
#[derive(Debug, Clone)]
pub struct BrokerExpectations {
    /// The names.
    pub topology: Topology,
    /// Who makes them.
    pub mode: TopologyMode,
    /// Whether the outbox is installed, so that the worker publishes too.
    pub publishes: bool,
    /// Whether to send a message through each exchange that has to take one.
    pub probe: bool,
}

/// For everything together; each request has ten seconds.
const AT_MOST: Duration = Duration::from_mins(1);

/// Makes the checks of the broker, in an order in which the first failure explains those after it.
pub async fn examine_rabbitmq(address: &BrokerAddress, expected: &BrokerExpectations) -> Vec<Finding> {
    let mut findings = Vec::new();
    let greeting = match greeting(address).await {
        Ok(greeting) => {
            findings.push(rabbitmq_encryption(address));
            greeting
        }
        Err(error) => {
            findings.push(if address.is_encrypted() {
                Finding::skipped("rabbitmq.tls", "not known without a connection")
            } else {
                rabbitmq_encryption(address)
            });
            findings.push(rabbitmq_not_connected(&error));
            findings.push(Finding::skipped("rabbitmq", "everything else needs a connection"));
            return findings;
        }
    };
    findings.push(rabbitmq_version(&greeting));
    let inspection = match Inspection::begin(address, expected.topology.clone()).await {
        Ok(inspection) => inspection,
        Err(error) => {
            findings.push(rabbitmq_not_connected(&error));
            findings.push(Finding::skipped("rabbitmq", "everything else needs a login"));
            return findings;
        }
    };
    findings.push(Finding::ok("rabbitmq.connection", format!("RabbitMQ at {} accepts the login", address.host())));
    // What was found is kept where time runs out.
    match timeout(AT_MOST, examine(&inspection, address, expected, parsed(&greeting.version), &mut findings)).await {
        Ok(Ok(())) => {}
        Ok(Err((check, error))) => {
            findings.push(Finding::failed(check, error.one_line(), "see what RabbitMQ says, and try again"));
        }
        Err(_) => findings.push(Finding::failed(
            "rabbitmq",
            format!("the checks did not end within {AT_MOST:?}"),
            "the broker is very slow or stands still; try again",
        )),
    }
    inspection.end().await;
    if expected.probe {
        findings.extend(probe(address, &expected.topology).await);
    }
    findings
}

type Failed = (&'static str, BrokerError);

async fn examine(
    inspection: &Inspection,
    address: &BrokerAddress,
    expected: &BrokerExpectations,
    version: Version,
    findings: &mut Vec<Finding>,
) -> Result<(), Failed> {
    let of = |check: &'static str| move |error: BrokerError| (check, error);
    let topology = &expected.topology;
    let work = inspection.state(topology.queue()).await.map_err(of("rabbitmq.consumers"))?;
    let consumed = work.is_some_and(|work| work.consumers > 0);
    let compared = inspection.exchange().await.map_err(of("rabbitmq.exchange"))?;
    findings.push(exchange(topology, &compared, expected.mode, consumed));

    let mut compared: Vec<(String, Compared)> = Vec::new();
    for (name, how) in inspection.own_exchanges().await.map_err(of("rabbitmq.topology"))? {
        compared.push((format!("exchange {name}"), how));
    }
    for queue in inspection.queues().await.map_err(of("rabbitmq.topology"))? {
        compared.push((format!("queue {}", queue.name), queue.compared));
    }
    findings.extend(drift(&compared, expected.mode, consumed));
    findings.push(delivery_limit(topology, &compared, version));

    let declares = expected.mode == TopologyMode::Declare;
    let mut forbidden = inspection.forbidden(declares).await.map_err(of("rabbitmq.permissions"))?;
    if expected.publishes && !inspection.may_publish(topology.exchange()).await.map_err(of("rabbitmq.permissions"))? {
        forbidden.push(format!("write to exchange {}, where the outbox is published", topology.exchange()));
    }
    findings.push(permissions(&forbidden, address, expected));

    findings.push(match work {
        None => Finding::skipped(
            "rabbitmq.consumers",
            format!("queue {} is not there or may not be looked at", topology.queue()),
        ),
        Some(work) if work.consumers == 0 => Finding::warning(
            "rabbitmq.consumers",
            format!("nobody consumes from {}, where {} messages wait", topology.queue(), work.messages),
            "start a worker (`run`), or see in its log why it does not consume",
        ),
        Some(work) => {
            Finding::ok("rabbitmq.consumers", format!("{} consume, {} messages wait", work.consumers, work.messages))
        }
    });
    let dead = inspection.state(&topology.dead_letter_queue()).await.map_err(of("rabbitmq.dead_letters"))?;
    findings.push(match dead {
        None => Finding::skipped(
            "rabbitmq.dead_letters",
            format!("queue {} is not there or may not be looked at", topology.dead_letter_queue()),
        ),
        Some(dead) if dead.messages > 0 => Finding::warning(
            "rabbitmq.dead_letters",
            format!("{} dead letters wait for somebody", dead.messages),
            "`snapshot-lifecycle dlq stats`; deploy/runbook.md says what to do",
        ),
        Some(_) if inspection.letters_are_held().await.map_err(of("rabbitmq.dead_letters"))? => Finding::warning(
            "rabbitmq.dead_letters",
            "a dlq command holds them in its hands",
            "look again when it has ended",
        ),
        Some(_) => Finding::ok("rabbitmq.dead_letters", "none"),
    });
    Ok(())
}
