"""What is tried."""

MODULES = {  # files, and parts of the names of the tests in tests/it that are tried first
    "policy": ("src/policy/**/*.rs", "outcomes:: event_end::"),
    "message": ("src/message/**/*.rs", "bad_input:: outcomes::"),
    "pipeline": ("src/pipeline/**/*.rs", "outcomes:: large_events:: faults:: batches:: missing_rights:: killed_servers::"),
    "passes": ("src/passes/**/*.rs src/storage/retention/*.rs", "passes:: undeletable_rows leases:: retention:: ttl:: cap::"),
    "lease": ("src/storage/passes/*.rs", "leases:: passes:: ttl:: cap:: worker_role::"),
    "rules": ("src/storage/rules/*.rs", "event_end:: large_events:: ahead_of_time:: undeletable_rows ttl:: cap:: snapshot_store::"),
    "outbox": ("src/outbox/**/*.rs src/storage/outbox/**/*.rs", "outbox::"),
    "publishing": ("src/broker/publish/**/*.rs", "publishing::"),
    "dead-letters": ("src/dead_letters/*.rs src/broker/dead_letters/*.rs", "dead_letters::"),
    "consumer": ("src/broker/consume/**/*.rs", "outcomes:: faults::"),
    "lifecycle": ("src/lifecycle.rs", "shutdown::"),
}

NEAR = {  # the same for files whose tests are others than those of their module
    "src/broker/consume/subscription.rs": "outages::broker:: batches:: acknowledgements:: retries:: shutdown::",
    "src/broker/dead_letters/lock.rs": "dead_letters::walk dead_letters::lock two_commands doctor_sees_that_a_command",
    "src/broker/dead_letters/queue.rs": "dead_letters::walk dead_letters::replay dead_letters::browse dead_letters::purge dead_letters::unusual",
    "src/dead_letters/browse.rs": "dead_letters::walk dead_letters::browse commands::answers",
    "src/dead_letters/edited_replay.rs": "edited",
    "src/dead_letters/pace.rs": "replay_goes_on replay_stops_on rate_is_heeded replay_whose",
    "src/dead_letters/purge.rs": "dead_letters::purge interrupted_purge",
    "src/dead_letters/replay.rs": "dead_letters::replay",
    "src/dead_letters/replay_report.rs": "dead_letters::replay commands::answers",
    "src/dead_letters/selection.rs": "exactly_the dead_letters::purge",
    "src/dead_letters/session.rs": "dead_letters::interrupted dead_letters::purge rate_is_heeded replay_whose on_a_terminal",
    "src/dead_letters/summary.rs": "dead_letters::browse commands::answers",
    "src/outbox/relay.rs": "outbox::publishing outbox::order outbox::older_versions",
    "src/outbox/report.rs": "outbox::publishing",
    "src/passes/batches.rs": "undeletable_rows rules::passes rules::ttl rules::cap",
    "src/passes/cap_eviction.rs": "rules::cap undeletable_rows rules::passes",
    "src/passes/manual.rs": "rules::passes rules::leases",
    "src/passes/restamp.rs": "restamp",
    "src/passes/retention_change.rs": "rules::retention",
    "src/passes/schedule.rs": "rules::passes rules::leases worker::logging worker::http",
    "src/storage/outbox/signal.rs": "outbox::publishing outbox::order",
    "src/storage/passes/backlog.rs": "worker::http commands::doctor",
    "src/storage/passes/lease.rs": "rules::leases rules::passes",
    "src/storage/retention/restamp.rs": "restamp rows_that_never_expire",
    "src/storage/retention/terms.rs": "hidden_rows rules::passes",
    "src/storage/rules/applied_ahead.rs": "ahead_of_time",
    "src/storage/rules/event_end.rs": "rules::event_end team_mismatch ahead_of_time",
    "src/storage/rules/event_steps.rs": "large_events ahead_of_time poison_messages delete_event",
}


def near_tests(mutant):
    return NEAR.get(mutant["file"], MODULES[mutant["module"]][1]).split()
