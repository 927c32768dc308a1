use time::{OffsetDateTime, UtcOffset};

/// The instant in UTC, if that is one of the years 1 to 9999, which is what we read back and write as RFC 3339. sqlx would panic at
/// one that has no time in UTC.
pub(in crate::storage) fn in_our_calendar(at: OffsetDateTime) -> Option<OffsetDateTime> {
    at.checked_to_offset(UtcOffset::UTC).filter(|at| (1..=9999).contains(&at.year()))
}
