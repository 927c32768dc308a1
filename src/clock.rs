//! The only `now()` of ours. What decides about rows is the database's clock; this one is for ages, headers and defaults.

use time::OffsetDateTime;

/// The current time in UTC, by this machine's clock.
#[must_use]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
