use super::topology::differing;
use super::version::Version;
use crate::broker::{Compared, Topology};
use crate::doctor::Finding;

/// Since then a queue without a delivery limit has one of 20.
const LIMIT_BY_DEFAULT: Version = (4, 0);
/// Since then only failures count, not what is given back.
const FAILURES_ONLY: Version = (4, 3);

pub(in crate::doctor) fn delivery_limit(
    topology: &Topology,
    compared: &[(String, Compared)],
    version: Version,
) -> Finding {
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
    use crate::config::TopologyMode;
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
