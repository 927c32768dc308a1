//! The only `now()` of ours. Rows are judged by the database's clock; this one is for ages, headers and defaults.

use time::OffsetDateTime;

/// The current time in UTC, by this machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
