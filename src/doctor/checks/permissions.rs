use crate::broker::{BrokerAddress, Topology};
use crate::config::TopologyMode;
use crate::doctor::check_id::RabbitmqCheck;
use crate::doctor::expectations::BrokerExpectations;
use crate::doctor::finding::Finding;

pub(in crate::doctor) fn permissions(
    forbidden: &[String],
    address: &BrokerAddress,
    expected: &BrokerExpectations,
) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Permissions;
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

/// What the worker's user must be allowed to configure, write and read, as regular expressions: the table of deploy/operating.md.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_those_of_the_documentation_and_quoted_for_a_shell() {
        let topology = Topology::new("event.status".to_owned(), "snapshot-lifecycle".to_owned(), TopologyMode::Declare);
        for (mode, publishes, kind) in [
            (TopologyMode::Declare, false, "worker, `declare`"),
            (TopologyMode::Declare, true, "worker, `declare`"),
            (TopologyMode::Verify, false, "worker, `verify`"),
            (TopologyMode::Verify, true, "worker, `verify`, with the outbox"),
        ] {
            let row =
                needed(&topology, mode, publishes).map(|cell| format!("`{}`", cell.replace('|', r"\|"))).join(" | ");
            assert!(include_str!("../../../deploy/operating.md").contains(&format!("| {kind} | {row} |")), "{row}");
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
