//! What differs between the exchanges and queues that are there and those that `run` declares, and what that costs.

use crate::broker::{Compared, TOPIC_NEEDED, Topology, routes_by_whole_keys};
use crate::config::TopologyMode;
use crate::doctor::Finding;

/// `consumed`: a worker is at work, so everything should be there.
pub(in crate::doctor) fn exchange(
    topology: &Topology,
    compared: &Compared,
    mode: TopologyMode,
    consumed: bool,
) -> Finding {
    const CHECK: &str = "rabbitmq.exchange";
    let name = topology.exchange();
    match (compared, mode) {
        (Compared::Same, _) => Finding::ok(CHECK, format!("{name} is a durable topic exchange")),
        (Compared::Hidden, _) => Finding::ok(CHECK, format!("{name} is there; the user may not find out its type")),
        (Compared::Missing, TopologyMode::Declare) if consumed => Finding::failed(
            CHECK,
            format!("{name} does not exist, although a worker consumes: nobody can publish"),
            "restart a worker, which makes it at its start, or have the backend declare it (durable, topic)",
        ),
        (Compared::Missing, TopologyMode::Declare) => {
            Finding::ok(CHECK, format!("{name} is not there yet; `run` makes it"))
        }
        (Compared::Missing, TopologyMode::Verify) => Finding::failed(
            CHECK,
            format!("{name} is not there"),
            "make it (durable, topic), or correct LIFECYCLE_EXCHANGE",
        ),
        (Compared::Other(words), _) if routes_by_whole_keys(words) => Finding::failed(
            CHECK,
            format!("{name} is a direct exchange, to which event.status.# means nothing: no message arrives"),
            TOPIC_NEEDED,
        ),
        (Compared::Other(words), _) if differing(words) == Some("type") => Finding::warning(
            CHECK,
            format!("{name} is not a topic exchange: {words}"),
            "make sure that each status message reaches the work queue, or have the backend publish to a topic exchange",
        ),
        (Compared::Other(words), _) if differing(words) == Some("durable") => Finding::failed(
            CHECK,
            format!("{name} is gone after a restart of RabbitMQ: {words}"),
            "delete it and have the backend declare it durable",
        ),
        (Compared::Other(words), _) => {
            Finding::ok(CHECK, format!("{name} has properties of its own and is used as it is: {words}"))
        }
    }
}

/// The argument that the broker names in `inequivalent arg 'NAME' for …`.
pub(super) fn differing(words: &str) -> Option<&str> {
    words.split_once("inequivalent arg '")?.1.split_once('\'').map(|(name, _)| name)
}

/// `consumed`: a worker is at work, so everything should be there.
pub(in crate::doctor) fn drift(compared: &[(String, Compared)], mode: TopologyMode, consumed: bool) -> Vec<Finding> {
    const CHECK: &str = "rabbitmq.topology";
    let mut findings = Vec::new();
    let missing: Vec<_> =
        compared.iter().filter(|(_, how)| *how == Compared::Missing).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        findings.push(match mode {
            TopologyMode::Declare if consumed => Finding::failed(
                CHECK,
                format!("missing, although a worker consumes: {}", missing.join(", ")),
                "restart a worker, which makes it at its start; one that runs makes it when it next has a dead letter or a retry to place",
            ),
            TopologyMode::Declare if missing.len() == compared.len() => {
                Finding::ok(CHECK, "nothing of the worker's is there yet; `run` makes it")
            }
            TopologyMode::Declare => {
                Finding::ok(CHECK, format!("not there yet, `run` makes it: {}", missing.join(", ")))
            }
            TopologyMode::Verify => Finding::failed(
                CHECK,
                format!("not there: {}", missing.join(", ")),
                "make them, or let the worker do it with LIFECYCLE_TOPOLOGY=declare",
            ),
        });
    }
    for (name, how) in compared {
        let Compared::Other(words) = how else { continue };
        let room = match differing(words) {
            Some("x-max-length" | "x-max-length-bytes") => "; once it is full, dead letters are refused or dropped",
            Some("x-queue-type") => "; what is in a classic queue is lost with its node",
            Some("x-dead-letter-strategy" | "x-overflow" | "x-dead-letter-exchange") => {
                "; what the broker itself dead-letters can get lost"
            }
            _ => "",
        };
        let says = format!("{name}: {words}{room}");
        findings.push(match mode {
            TopologyMode::Declare => Finding::failed(
                CHECK,
                says,
                "arguments cannot be changed: stop the workers, empty it, delete it, and `run` makes it anew; or LIFECYCLE_TOPOLOGY=verify uses it as it is",
            ),
            TopologyMode::Verify => Finding::warning(CHECK, says, "make it anew with the arguments that `run` gives it, once it is empty"),
        });
    }
    let hidden = compared.iter().filter(|(_, how)| *how == Compared::Hidden).count();
    if findings.is_empty() {
        findings.push(match hidden {
            0 => Finding::ok(CHECK, format!("{} exchanges and queues are as `run` declares them", compared.len())),
            _ => Finding::ok(
                CHECK,
                format!(
                    "all are there; of {hidden} the user may not find out the arguments (no permission to configure)"
                ),
            ),
        });
    }
    findings
}
