//! Differences between the exchanges and queues that exist and those that `run` declares, and their consequences.

use crate::broker::{Comparison, TOPIC_NEEDED, Topology, is_direct_exchange};
use crate::config::TopologyMode;
use crate::doctor::check_id::RabbitmqCheck;
use crate::doctor::finding::Finding;

/// `consumed`: a worker runs, so everything should exist.
pub(in crate::doctor) fn exchange(
    topology: &Topology,
    compared: &Comparison,
    mode: TopologyMode,
    consumed: bool,
) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Exchange;
    let name = topology.exchange();
    match (compared, mode) {
        (Comparison::Same, _) => Finding::ok(CHECK, format!("{name} is a durable topic exchange")),
        (Comparison::Hidden, _) => Finding::ok(CHECK, format!("{name} exists; the user may not see its type")),
        (Comparison::Missing, TopologyMode::Declare) if consumed => Finding::failed(
            CHECK,
            format!("{name} does not exist, although a worker consumes: nobody can publish"),
            "restart a worker, which declares it at start, or have the backend declare it (durable, topic)",
        ),
        (Comparison::Missing, TopologyMode::Declare) => {
            Finding::ok(CHECK, format!("{name} does not exist yet; `run` declares it"))
        }
        (Comparison::Missing, TopologyMode::Verify) => Finding::failed(
            CHECK,
            format!("{name} does not exist"),
            "declare it (durable, topic), or correct LIFECYCLE_EXCHANGE",
        ),
        (Comparison::Different(reply), _) if is_direct_exchange(reply) => Finding::failed(
            CHECK,
            format!(
                "{name} is a direct exchange, for which the binding key event.status.# matches nothing: no message arrives"
            ),
            TOPIC_NEEDED,
        ),
        (Comparison::Different(reply), _) if differing(reply) == Some("type") => Finding::warning(
            CHECK,
            format!("{name} is not a topic exchange: {reply}"),
            "make sure that each status message reaches the work queue, or have the backend publish to a topic exchange",
        ),
        (Comparison::Different(reply), _) if differing(reply) == Some("durable") => Finding::failed(
            CHECK,
            format!("{name} does not survive a restart of RabbitMQ: {reply}"),
            "delete it and have the backend declare it durable",
        ),
        (Comparison::Different(reply), _) => {
            Finding::ok(CHECK, format!("{name} has its own properties and is used as it is: {reply}"))
        }
    }
}

/// The argument that the broker names in `inequivalent arg 'NAME' for …`.
pub(super) fn differing(reply: &str) -> Option<&str> {
    reply.split_once("inequivalent arg '")?.1.split_once('\'').map(|(name, _)| name)
}

/// `consumed`: a worker runs, so everything should exist.
pub(in crate::doctor) fn drift(compared: &[(String, Comparison)], mode: TopologyMode, consumed: bool) -> Vec<Finding> {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Topology;
    let mut findings = Vec::new();
    let missing: Vec<_> =
        compared.iter().filter(|(_, how)| *how == Comparison::Missing).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        findings.push(match mode {
            TopologyMode::Declare if consumed => Finding::failed(
                CHECK,
                format!("missing, although a worker consumes: {}", missing.join(", ")),
                "restart a worker, which declares it at start; a running one declares it before its next dead letter or retry",
            ),
            TopologyMode::Declare if missing.len() == compared.len() => {
                Finding::ok(CHECK, "none of the worker's exchanges and queues exists yet; `run` declares them")
            }
            TopologyMode::Declare => {
                Finding::ok(CHECK, format!("missing until `run` declares them: {}", missing.join(", ")))
            }
            TopologyMode::Verify => Finding::failed(
                CHECK,
                format!("missing: {}", missing.join(", ")),
                "declare them, or let the worker do it with LIFECYCLE_TOPOLOGY=declare",
            ),
        });
    }
    for (name, how) in compared {
        let Comparison::Different(reply) = how else { continue };
        let consequence = match differing(reply) {
            Some("x-max-length" | "x-max-length-bytes") => "; once it is full, dead letters are rejected or dropped",
            Some("x-queue-type") => "; a classic queue loses its messages with its node",
            Some("x-dead-letter-strategy" | "x-overflow" | "x-dead-letter-exchange") => {
                "; messages that the broker dead-letters can get lost"
            }
            _ => "",
        };
        let message = format!("{name}: {reply}{consequence}");
        findings.push(match mode {
            TopologyMode::Declare => Finding::failed(
                CHECK,
                message,
                "arguments cannot be changed: stop the workers, empty it, delete it, and `run` declares it again; LIFECYCLE_TOPOLOGY=verify uses it as it is",
            ),
            TopologyMode::Verify => Finding::warning(CHECK, message, "once it is empty, declare it again with the arguments that `run` uses"),
        });
    }
    let hidden = compared.iter().filter(|(_, how)| *how == Comparison::Hidden).count();
    if findings.is_empty() {
        findings.push(match hidden {
            0 => Finding::ok(CHECK, format!("{} exchanges and queues are as `run` declares them", compared.len())),
            _ => Finding::ok(
                CHECK,
                format!("all exist; the user may not see the arguments of {hidden} (no configure permission)"),
            ),
        });
    }
    findings
}
