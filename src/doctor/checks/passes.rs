use std::time::Duration;

use crate::clock;
use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::Backlog;

/// A pass is overdue after three intervals plus this: it may be long, and the next one waits for a free lease.
const GRACE: Duration = Duration::from_mins(5);

pub(in crate::doctor) fn sweep(backlog: &Backlog, interval: Duration) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Sweep;
    let overdue = interval * 3 + GRACE;
    if backlog.expired > 0 && backlog.oldest_expired > overdue {
        return Finding::failed(
            CHECK,
            format!(
                "{} expired snapshots are not deleted yet, the oldest for {:.0} s",
                backlog.expired,
                backlog.oldest_expired.as_secs_f64()
            ),
            "start a worker, or see in its log why the sweep fails or is too slow (LIFECYCLE_DELETE_RATE); `sweep --yes` runs one now",
        );
    }
    pass(CHECK, "TTL sweep", backlog.last_ttl_pass, interval)
}

pub(in crate::doctor) fn eviction(backlog: &Backlog, interval: Duration) -> Finding {
    pass(DatabaseCheck::Evict, "eviction", backlog.last_cap_pass, interval)
}

fn pass(check: DatabaseCheck, name: &str, last: Option<time::OffsetDateTime>, interval: Duration) -> Finding {
    const FIX: &str = "start a worker (`run`), or see in its log why the pass does not complete";
    let Some(last) = last else {
        return Finding::warning(check, format!("no {name} has completed yet"), FIX);
    };
    let seconds = (clock::now() - last).whole_seconds().max(0);
    let overdue = interval * 3 + GRACE;
    if seconds.unsigned_abs() > overdue.as_secs() {
        return Finding::failed(
            check,
            format!("the last {name} completed {seconds} s ago; one is due every {} s", interval.as_secs()),
            FIX,
        );
    }
    Finding::ok(check, format!("the last {name} completed {seconds} s ago"))
}
