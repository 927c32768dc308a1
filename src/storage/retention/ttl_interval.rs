use std::time::Duration;

use sqlx::postgres::types::PgInterval;

const SECONDS_PER_DAY: u64 = 86_400;

/// A TTL on its way to PostgreSQL: whole days as days, as the policy's first rows have them. A day is not always 24 hours in the server's
/// time zone.
pub(super) fn as_interval(ttl: Duration) -> PgInterval {
    let days = i32::try_from(ttl.as_secs() / SECONDS_PER_DAY).unwrap_or(i32::MAX);
    let rest = Duration::new(ttl.as_secs() % SECONDS_PER_DAY, ttl.subsec_nanos());
    PgInterval { months: 0, days, microseconds: i64::try_from(rest.as_micros()).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_are_days() {
        let day_and_second = as_interval(Duration::from_secs(86_401));
        assert_eq!((day_and_second.days, day_and_second.microseconds), (1, 1_000_000));
        assert_eq!(as_interval(Duration::MAX).days, i32::MAX);
    }
}
