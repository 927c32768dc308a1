//! What differs between the exchanges and queues that are there and those that `run` declares, and what that costs.

use super::Finding;
use crate::broker::{Compared, TOPIC_NEEDED, Topology, routes_by_whole_keys};
use crate::config::TopologyMode;

/// Major and minor.
pub(super) type Version = (u32, u32);

/// Since then a queue without a delivery limit has one of 20.
const LIMIT_BY_DEFAULT: Version = (4, 0);
/// Since then only failures count, not what is given back.
const FAILURES_ONLY: Version = (4, 3);

/// `consumed`: a worker is at work, so everything should be there.
pub(super) fn exchange(topology: &Topology, compared: &Compared, mode: TopologyMode, consumed: bool) -> Finding {
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
fn differing(words: &str) -> Option<&str> {
    words.split_once("inequivalent arg '")?.1.split_once('\'').map(|(name, _)| name)
}

/// `consumed`: a worker is at work, so everything should be there.
pub(super) fn drift(compared: &[(String, Compared)], mode: TopologyMode, consumed: bool) -> Vec<Finding> {
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

pub(super) fn delivery_limit(topology: &Topology, compared: &[(String, Compared)], version: Version) -> Finding {
    const CHECK: &str = "rabbitmq.delivery_limit";
    // Whether it has ours; not known where the broker named another difference, or none.
    let limited = |queue: &str| {
        let name = format!("queue {queue}");
        match compared.iter().find(|(it, _)| *it == name).map(|(_, how)| how) {
            Some(Compared::Same) => Some(true),
            Some(Compared::Other(words)) => match differing(words) {
                Some("x-delivery-limit" | "x-queue-type") => Some(false),
                _ => None,
            },
            Some(Compared::Missing | Compared::Hidden) | None => None,
        }
    };
    let (work, letters) = (limited(topology.queue()), limited(&topology.dead_letter_queue()));
    if work == Some(false) {
        let says = if version < LIMIT_BY_DEFAULT {
            "the work queue has another delivery limit than 20, or none: a message that crashes the worker could do so for ever"
        } else {
            "the work queue has another delivery limit than the 20 that `run` gives it: a message that crashes the worker may do so more often, or is given up sooner"
        };
        return Finding::warning(
            CHECK,
            says,
            "make the queue anew (see rabbitmq.topology), or set delivery-limit by a policy",
        );
    }
    if letters == Some(false) {
        let says = if version < LIMIT_BY_DEFAULT {
            "the dead-letter queue has another delivery limit than `run` gives it: looking at letters may change their order"
        } else {
            "the dead-letter queue has another delivery limit than `run` gives it: looking at letters often enough drops them"
        };
        return Finding::warning(
            CHECK,
            says,
            "make the queue anew (see rabbitmq.topology); until then look with `dlq export` once",
        );
    }
    if work.is_none() || letters.is_none() {
        return Finding::skipped(CHECK, "the limits are not known: see rabbitmq.topology");
    }
    Finding::ok(
        CHECK,
        if version < FAILURES_ONLY {
            "20 deliveries a message; this version counts every one that comes back, an outage included"
        } else {
            "20 failed deliveries a message; this version counts failures only"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn topology() -> Topology {
        Topology::new("e".to_owned(), "q".to_owned(), TopologyMode::Declare)
    }

    /// One of the two queues differs in this argument.
    fn other(queue: &str, argument: &str) -> Vec<(String, Compared)> {
        let words = format!("PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/'");
        let how = |it: &str| if it == queue { Compared::Other(words.clone()) } else { Compared::Same };
        ["q", "q.dead-letter"].map(|it| (format!("queue {it}"), how(it))).into()
    }

    #[test]
    fn work_queue_without_a_limit_matters_where_the_broker_has_none_by_default() {
        let unlimited = other("q", "x-delivery-limit");
        assert_eq!(delivery_limit(&topology(), &unlimited, (3, 10)).state, State::Warning);
        assert_eq!(delivery_limit(&topology(), &unlimited, (3, 13)).state, State::Warning);
        assert!(delivery_limit(&topology(), &unlimited, (3, 13)).says.contains("for ever"));
        assert!(delivery_limit(&topology(), &unlimited, (4, 0)).says.contains("given up sooner"));
    }

    #[test]
    fn dead_letter_queue_with_another_limit_is_told_by_what_the_version_makes_of_it() {
        let other = other("q.dead-letter", "x-delivery-limit");
        assert!(delivery_limit(&topology(), &other, (3, 12)).says.contains("order"));
        assert!(delivery_limit(&topology(), &other, (4, 1)).says.contains("drops"));
    }

    #[test]
    fn where_another_argument_differs_the_limit_is_not_known() {
        // The broker names one difference, and there may be more.
        for queue in ["q", "q.dead-letter"] {
            assert_eq!(delivery_limit(&topology(), &other(queue, "x-overflow"), (3, 10)).state, State::Skipped);
        }
        assert_eq!(delivery_limit(&topology(), &[], (4, 0)).state, State::Skipped);
    }

    #[test]
    fn what_counts_as_a_delivery_is_told_by_version() {
        let same = other("neither", "");
        assert!(delivery_limit(&topology(), &same, (3, 10)).says.contains("every one that comes back"));
        assert!(delivery_limit(&topology(), &same, (4, 3)).says.contains("failures only"));
    }
}
