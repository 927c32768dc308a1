use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use super::topology::{Version, delivery_limit, drift, exchange};
use crate::broker::{
    BrokerAddress, BrokerError, Compared, Greeting, Inspection, Outgoing, PublishError, Publisher, Topology, greeting,
};
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
const OLDEST_VERSION: Version = (3, 10);
/// Makes the checks of the broker, in an order in which the first failure explains those after it.
pub async fn examine_rabbitmq(address: &BrokerAddress, expected: &BrokerExpectations) -> Vec<Finding> {
    let mut findings = Vec::new();
    let greeting = match greeting(address).await {
        Ok(greeting) => {
            findings.push(encryption(address));
            greeting
        }
        Err(error) => {
            findings.push(if address.is_encrypted() {
                Finding::skipped("rabbitmq.tls", "not known without a connection")
            } else {
                encryption(address)
            });
            findings.push(not_connected(&error));
            findings.push(Finding::skipped("rabbitmq", "everything else needs a connection"));
            return findings;
        }
    };
    findings.push(version(&greeting));
    let inspection = match Inspection::begin(address, expected.topology.clone()).await {
        Ok(inspection) => inspection,
        Err(error) => {
            findings.push(not_connected(&error));
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
            "`snapshot-lifecycle dlq stats`, and the README's page for the person on call",
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

fn encryption(address: &BrokerAddress) -> Finding {
    const CHECK: &str = "rabbitmq.tls";
    if address.is_encrypted() {
        return Finding::ok(CHECK, "encrypted, and the server's name is verified (amqps)");
    }
    if address.is_local() {
        return Finding::ok(CHECK, "the broker is on this machine");
    }
    Finding::warning(
        CHECK,
        format!("password and messages go to {} in the clear", address.host()),
        "write amqps:// in AMQP_URL, with the port for TLS (5671)",
    )
}

/// Its own fix apart from what is so.
fn not_connected(error: &BrokerError) -> Finding {
    const CHECK: &str = "rabbitmq.connection";
    match error {
        BrokerError::NotConnected { server, failure, fix } => {
            let why = failure.to_string().replace(['\r', '\n'], " ");
            Finding::failed(CHECK, format!("could not connect to RabbitMQ at {server}: {why}"), *fix)
        }
        other => Finding::failed(CHECK, other.one_line(), "see what RabbitMQ says, and try again"),
    }
}

/// Major and minor; a version that cannot be read counts as new.
fn parsed(version: &str) -> Version {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => (u32::MAX, 0),
    }
}

fn version(greeting: &Greeting) -> Finding {
    const CHECK: &str = "rabbitmq.version";
    let Greeting { product, version } = greeting;
    if product != "RabbitMQ" {
        return Finding::warning(
            CHECK,
            format!("{product} {version} is not RabbitMQ"),
            "quorum queues and confirms as RabbitMQ 3.10 to 4.x has them are needed",
        );
    }
    if parsed(version) < OLDEST_VERSION {
        return Finding::failed(
            CHECK,
            format!("RabbitMQ {version} is too old: its quorum queues lose dead letters"),
            "upgrade to RabbitMQ 3.10 or newer",
        );
    }
    Finding::ok(CHECK, format!("RabbitMQ {version}"))
}

fn permissions(forbidden: &[String], address: &BrokerAddress, expected: &BrokerExpectations) -> Finding {
    const CHECK: &str = "rabbitmq.permissions";
    if forbidden.is_empty() {
        return Finding::ok(CHECK, "the user may do what the worker does");
    }
    Finding::failed(
        CHECK,
        format!("the user may not {}", forbidden.join("; ")),
        format!(
            "grant it: rabbitmqctl set_permissions -p {} {} {}{}",
            quoted(address.vhost()),
            quoted(address.user()),
            needed(&expected.topology, expected.mode, expected.publishes).map(|part| quoted(&part)).join(" "),
            if expected.mode == TopologyMode::Declare { "; without configure, LIFECYCLE_TOPOLOGY=verify" } else { "" },
        ),
    )
}

/// What the worker's user may configure, write and read, as regular expressions: the README's table.
fn needed(topology: &Topology, mode: TopologyMode, publishes: bool) -> [String; 3] {
    let exact = |name: &str| {
        let special = |character: char| !(character.is_alphanumeric() || "-_ ".contains(character));
        name.chars()
            .flat_map(|character| special(character).then_some('\\').into_iter().chain([character]))
            .collect::<String>()
    };
    let (exchange, queue) = (exact(topology.exchange()), exact(topology.queue()));
    match mode {
        TopologyMode::Declare => std::array::from_fn(|_| format!(r"^({exchange}|{queue}(\..+)?)$")),
        TopologyMode::Verify if publishes => {
            ["^$".to_owned(), format!(r"^({exchange}|{queue}\.(dlx|retry))$"), format!("^{queue}$")]
        }
        TopologyMode::Verify => ["^$".to_owned(), format!(r"^{queue}\.(dlx|retry)$"), format!("^{queue}$")],
    }
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Sends what ends no event, and what the dead-letter queue forgets.
async fn probe(address: &BrokerAddress, topology: &Topology) -> Vec<Finding> {
    let publisher = Publisher::new(address.clone());
    let status = Outgoing::status_probe(topology.exchange());
    let letter = Outgoing::dead_letter_probe(&topology.dead_letter_exchange());
    let mut answers = publisher.publish(&[&status]).await;
    answers.extend(publisher.publish(&[&letter]).await);
    publisher.close().await;
    let checks = [
        (
            "rabbitmq.probe.exchange",
            "a queue takes what is published to the exchange",
            "bind the worker's queue with event.status.# (`run` does, with LIFECYCLE_TOPOLOGY=declare)",
        ),
        (
            "rabbitmq.probe.dead_letters",
            "the dead-letter queue has room",
            "bind the dead-letter queue to its exchange, and lift what limits it (a policy's max-length)",
        ),
    ];
    let findings = checks.into_iter().zip(answers).map(|((check, well, mend), answer)| match answer {
        Ok(()) => Finding::ok(check, well),
        Err(error @ PublishError::Rejected(_)) => Finding::failed(
            check,
            error.to_string(),
            "make the exchange where it is missing, and let the user write to it, or run the probe as a user who may",
        ),
        Err(error @ PublishError::Unconfirmed(_)) => Finding::failed(
            check,
            error.to_string(),
            "see whether RabbitMQ is short of memory or disk (rabbitmqctl status: alarms)",
        ),
        Err(error) => Finding::failed(check, error.to_string(), mend),
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_those_of_the_readme_and_words_for_a_shell() {
        let topology = Topology::new("event.status".to_owned(), "snapshot-lifecycle".to_owned(), TopologyMode::Declare);
        for (mode, kind) in [(TopologyMode::Declare, "declare"), (TopologyMode::Verify, "verify")] {
            let row = needed(&topology, mode, false).map(|cell| format!("`{}`", cell.replace('|', r"\|"))).join(" | ");
            assert!(include_str!("../../README.md").contains(&format!("| worker, `{kind}` | {row} |")), "{row}");
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!((parsed("3.10.8"), parsed("4.0.5+deb13"), parsed("4.3")), ((3, 10), (4, 0), (4, 3)));
        assert!(parsed("3.9.29") < OLDEST_VERSION && parsed("3.10.0") >= OLDEST_VERSION);
        assert!(parsed("nightly") > OLDEST_VERSION);
    }
}
