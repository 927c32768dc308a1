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
