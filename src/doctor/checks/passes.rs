use std::time::Duration;

use crate::clock;
use crate::doctor::Finding;
use crate::storage::Backlog;

/// A pass is overdue after three intervals and this: it may be long, and the next waits for a free lease.
const GRACE: Duration = Duration::from_mins(5);

pub(in crate::doctor) fn sweep(backlog: &Backlog, interval: Duration) -> Finding {
    const CHECK: &str = "database.sweep";
    let overdue = interval * 3 + GRACE;
    if backlog.expired > 0 && backlog.oldest_expired > overdue {
        return Finding::failed(
            CHECK,
            format!(
                "{} snapshots have expired and are still there, the oldest for {:.0} s",
                backlog.expired,
                backlog.oldest_expired.as_secs_f64()
            ),
            "start a worker, or see in its log why the sweep fails or stays behind (LIFECYCLE_DELETE_RATE); `sweep --yes` does one now",
        );
    }
    pass(CHECK, "TTL sweep", backlog.last_ttl_pass, interval)
}

pub(in crate::doctor) fn eviction(backlog: &Backlog, interval: Duration) -> Finding {
    pass("database.evict", "eviction", backlog.last_cap_pass, interval)
}

fn pass(check: &'static str, name: &str, last: Option<time::OffsetDateTime>, interval: Duration) -> Finding {
    const MEND: &str = "start a worker (`run`), or see in its log why the pass does not end well";
    let Some(last) = last else {
        return Finding::warning(check, format!("no {name} has ended well yet"), MEND);
    };
    let seconds = (clock::now() - last).whole_seconds().max(0);
    let overdue = interval * 3 + GRACE;
    if seconds.unsigned_abs() > overdue.as_secs() {
        return Finding::failed(
            check,
            format!("the last {name} ended {seconds} s ago; one is due every {} s", interval.as_secs()),
            MEND,
        );
    }
    Finding::ok(check, format!("the last {name} ended {seconds} s ago"))
}
