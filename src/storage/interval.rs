use std::time::Duration;

use serde::Serializer;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// A length of time on its way to PostgreSQL, which has microseconds, and back. A negative one is read as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval(pub(super) Duration);

const SECONDS_PER_DAY: i64 = 86_400;

impl Type<Postgres> for Interval {
    fn type_info() -> PgTypeInfo {
        <PgInterval as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Interval {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let microseconds = i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX);
        PgInterval { months: 0, days: 0, microseconds }.encode_by_ref(buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Interval {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let interval = <PgInterval as Decode<'r, Postgres>>::decode(value)?;
        if interval.months != 0 {
            return Err("an interval of months has no exact length".into());
        }
        // What instants differ by has days and, within them, microseconds.
        let days = u64::try_from(i64::from(interval.days) * SECONDS_PER_DAY).unwrap_or_default();
        let microseconds = u64::try_from(interval.microseconds).unwrap_or_default();
        Ok(Self(Duration::from_secs(days) + Duration::from_micros(microseconds)))
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Self {
        interval.0
    }
}

/// As JSON: whole seconds.
pub(super) fn whole_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}
