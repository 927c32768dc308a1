use std::time::Duration;

use crate::clock;
use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::policy::PassName;
use crate::storage::Backlog;

/// A pass is overdue after three intervals plus this: it may be long, and the next one waits for a free lease.
const GRACE: Duration = Duration::from_mins(5);

/// The check of a pass, and what the pass is called.
const fn check_of(pass: PassName) -> (DatabaseCheck, &'static str) {
    match pass {
        PassName::Ttl => (DatabaseCheck::Sweep, "TTL sweep"),
        PassName::Cap => (DatabaseCheck::Evict, "eviction"),
    }
}

/// Whether the sweep deletes what has expired, and completes in time.
pub(in crate::doctor) fn sweep(backlog: &Backlog, interval: Duration) -> Finding {
    let overdue = interval * 3 + GRACE;
    if backlog.expired > 0 && backlog.oldest_expired > overdue {
        return Finding::failed(
            DatabaseCheck::Sweep,
            format!(
                "{} expired snapshots are not deleted yet, the oldest for {:.0} s",
                backlog.expired,
                backlog.oldest_expired.as_secs_f64()
            ),
            "start a worker, or see in its log why the sweep fails or is too slow (LIFECYCLE_DELETE_RATE); `sweep --yes` runs one now",
        );
    }
    completes(PassName::Ttl, backlog, interval)
}

/// Whether the pass completes in time.
pub(in crate::doctor) fn completes(pass: PassName, backlog: &Backlog, interval: Duration) -> Finding {
    const FIX: &str = "start a worker (`run`), or see in its log why the pass does not complete";
    let (check, name) = check_of(pass);
    let Some(last) = backlog.last_pass(pass) else {
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
