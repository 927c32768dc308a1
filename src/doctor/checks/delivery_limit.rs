use super::topology::differing;
use super::version::Version;
use crate::broker::{Comparison, Topology};
use crate::doctor::check_id::RabbitmqCheck;
use crate::doctor::finding::Finding;

/// Since then a queue without a delivery limit has one of 20.
const LIMIT_BY_DEFAULT: Version = (4, 0);
/// Since then only failures count, not messages that were returned to the queue.
const FAILURES_ONLY: Version = (4, 3);

pub(in crate::doctor) fn delivery_limit(
    topology: &Topology,
    compared: &[(String, Comparison)],
    version: Version,
) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::DeliveryLimit;
    // Whether it is the limit that `run` declares; unknown if the broker named another difference, or none.
    let limited = |queue: &str| {
        let name = format!("queue {queue}");
        match compared.iter().find(|(it, _)| *it == name).map(|(_, how)| how) {
            Some(Comparison::Same) => Some(true),
            Some(Comparison::Different(reply)) => match differing(reply) {
                Some("x-delivery-limit" | "x-queue-type") => Some(false),
                _ => None,
            },
            Some(Comparison::Missing | Comparison::Hidden) | None => None,
        }
    };
    let (work, dead) = (limited(topology.queue()), limited(&topology.dead_letter_queue()));
    if work == Some(false) {
        let message = if version < LIMIT_BY_DEFAULT {
            "the work queue has no delivery limit, or not 20: a message that crashes the worker could do so for ever"
        } else {
            "the delivery limit of the work queue is not 20: a message that crashes the worker is dead-lettered sooner or later than that"
        };
        return Finding::warning(
            CHECK,
            message,
            "declare the queue again (see rabbitmq.topology), or set delivery-limit with a policy",
        );
    }
    if dead == Some(false) {
        let message = if version < LIMIT_BY_DEFAULT {
            "the dead-letter queue has another delivery limit than `run` declares: reading dead letters may change their order"
        } else {
            "the dead-letter queue has another delivery limit than `run` declares: reading dead letters often enough drops them"
        };
        return Finding::warning(
            CHECK,
            message,
            "declare the queue again (see rabbitmq.topology); until then read them once, with `dlq export`",
        );
    }
    if work.is_none() || dead.is_none() {
        return Finding::skipped(CHECK, "the limits are unknown: see rabbitmq.topology");
    }
    Finding::ok(
        CHECK,
        if version < FAILURES_ONLY {
            "20 deliveries per message; this version counts each one that returns to the queue, an outage included"
        } else {
            "20 failed deliveries per message; this version counts failures only"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopologyMode;
    use crate::doctor::finding::State;

    fn topology() -> Topology {
        Topology::new("e".to_owned(), "q".to_owned(), TopologyMode::Declare)
    }

    /// One of the two queues differs in this argument.
    fn other(queue: &str, argument: &str) -> Vec<(String, Comparison)> {
        let reply = format!("PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/'");
        let how = |it: &str| if it == queue { Comparison::Different(reply.clone()) } else { Comparison::Same };
        ["q", "q.dead-letter"].map(|it| (format!("queue {it}"), how(it))).into()
    }

    #[test]
    fn work_queue_without_a_limit_matters_where_the_broker_has_none_by_default() {
        let unlimited = other("q", "x-delivery-limit");
        assert_eq!(delivery_limit(&topology(), &unlimited, (3, 10)).state, State::Warning);
        assert_eq!(delivery_limit(&topology(), &unlimited, (3, 13)).state, State::Warning);
        assert!(delivery_limit(&topology(), &unlimited, (3, 13)).message.contains("for ever"));
        assert!(delivery_limit(&topology(), &unlimited, (4, 0)).message.contains("sooner or later"));
    }

    #[test]
    fn consequence_of_another_limit_of_the_dead_letter_queue_depends_on_the_version() {
        let other = other("q.dead-letter", "x-delivery-limit");
        assert!(delivery_limit(&topology(), &other, (3, 12)).message.contains("order"));
        assert!(delivery_limit(&topology(), &other, (4, 1)).message.contains("drops"));
    }

    #[test]
    fn limit_is_unknown_where_another_argument_differs() {
        // The broker names one difference, and there may be more.
        for queue in ["q", "q.dead-letter"] {
            assert_eq!(delivery_limit(&topology(), &other(queue, "x-overflow"), (3, 10)).state, State::Skipped);
        }
        assert_eq!(delivery_limit(&topology(), &[], (4, 0)).state, State::Skipped);
    }

    #[test]
    fn what_counts_as_a_delivery_depends_on_the_version() {
        let same = other("neither", "");
        assert!(delivery_limit(&topology(), &same, (3, 10)).message.contains("each one that returns"));
        assert!(delivery_limit(&topology(), &same, (4, 3)).message.contains("failures only"));
    }
}
