use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::{TableProtection, TypeRetention};

/// Rows that no sweep ever deletes.
pub(in crate::doctor) fn never_expiring(rows: i64) -> Option<Finding> {
    (rows > 0).then(|| {
        Finding::warning(
            DatabaseCheck::Retention,
            format!("{rows} snapshots have no expires_at, so they never expire"),
            "snapshot-lifecycle retention set '*' --ttl 7d --restamp --yes, and the same for each type with its own TTL",
        )
    })
}

pub(in crate::doctor) fn retention(policy: &[TypeRetention], protection: TableProtection) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Retention;
    if !policy.iter().any(|row| row.snapshot_type == "*") {
        return Finding::failed(
            CHECK,
            "the retention policy has no row for *: snapshots of types that are not listed cannot be inserted without expires_at",
            "snapshot-lifecycle retention set '*' --ttl 7d --keep-after-event false --yes",
        );
    }
    if !protection.fills_expiry {
        return Finding::failed(
            CHECK,
            if protection.expiry_may_be_missing {
                "the trigger that fills a missing expires_at is missing or disabled: such snapshots never expire"
            } else {
                "the trigger that fills a missing expires_at is missing or disabled: such inserts fail"
            },
            "as the owner: ALTER TABLE public.snapshots ENABLE TRIGGER snapshot_lifecycle_fill_expires_at;",
        );
    }
    Finding::ok(CHECK, format!("{} types and * have a TTL, which an insert without expires_at gets", policy.len() - 1))
}
