use time::OffsetDateTime;

/// Now, to the microsecond: PostgreSQL keeps no more, and a test that compares instants must not have more.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1000 * 1000).unwrap()
}
