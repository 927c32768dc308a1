use crate::broker::{QueueState, Topology};
use crate::doctor::check_id::RabbitmqCheck;
use crate::doctor::finding::Finding;

pub(in crate::doctor) fn consumers(topology: &Topology, queue: Option<QueueState>) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Consumers;
    match queue {
        None => unknown(CHECK, topology.queue()),
        Some(QueueState { consumers: 0, messages }) => Finding::warning(
            CHECK,
            format!("no worker consumes from {}, where {messages} messages wait", topology.queue()),
            "start a worker (`run`), or see in its log why it does not consume",
        ),
        Some(QueueState { consumers, messages }) => {
            Finding::ok(CHECK, format!("consumers: {consumers}; messages that wait: {messages}"))
        }
    }
}

/// `locked`: a `dlq` command runs, so the queue shows less than it has.
pub(in crate::doctor) fn dead_letters(topology: &Topology, queue: Option<QueueState>, locked: bool) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::DeadLetters;
    match queue {
        None => unknown(CHECK, &topology.dead_letter_queue()),
        Some(QueueState { messages: waiting @ 1.., .. }) => Finding::warning(
            CHECK,
            format!("{waiting} dead letters wait for an operator"),
            "run `snapshot-lifecycle dlq stats`; deploy/runbook.md says what to do",
        ),
        Some(_) if locked => {
            Finding::warning(CHECK, "a dlq command holds the dead letters", "check again when it has ended")
        }
        Some(_) => Finding::ok(CHECK, "none"),
    }
}

fn unknown(check: RabbitmqCheck, queue: &str) -> Finding {
    Finding::skipped(check, format!("queue {queue} does not exist or may not be read"))
}
