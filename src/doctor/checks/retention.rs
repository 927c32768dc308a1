use crate::doctor::Finding;
use crate::storage::{Guards, TypeRetention};

/// Rows that no sweep ever takes.
pub(in crate::doctor) fn never_expiring(rows: i64) -> Option<Finding> {
    (rows > 0).then(|| {
        Finding::warning(
            "database.retention",
            format!("{rows} snapshots have no expires_at, so they never expire"),
            "snapshot-lifecycle retention set '*' --ttl 7d --restamp --yes, and the same for each type with a TTL of its own",
        )
    })
}

pub(in crate::doctor) fn retention(policy: &[TypeRetention], guards: Guards) -> Finding {
    const CHECK: &str = "database.retention";
    if !policy.iter().any(|row| row.snapshot_type == "*") {
        return Finding::failed(
            CHECK,
            "the retention policy has no row for *: snapshots of a type that is not listed cannot be made without expires_at",
            "snapshot-lifecycle retention set '*' --ttl 7d --keep-after-event false --yes",
        );
    }
    if !guards.fills_expiry {
        return Finding::failed(
            CHECK,
            if guards.expiry_may_be_missing {
                "the trigger that fills a missing expires_at is gone or disabled: such snapshots never expire"
            } else {
                "the trigger that fills a missing expires_at is gone or disabled: such inserts fail"
            },
            "as the owner: ALTER TABLE public.snapshots ENABLE TRIGGER snapshot_lifecycle_fill_expires_at;",
        );
    }
    Finding::ok(
        CHECK,
        format!("{} types and * have their TTL, and an insert without expires_at gets it", policy.len() - 1),
    )
}
