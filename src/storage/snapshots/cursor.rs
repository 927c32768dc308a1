use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::calendar::in_our_calendar;

/// Where a page of a list ended, so that the next one begins behind it. As text, `MICROSECONDS_ID`, it fits into a URL as it is.
///
/// ```
/// use snapshot_lifecycle::Cursor;
///
/// let text = "1767614400000000_9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d";
/// assert_eq!(text.parse::<Cursor>()?.to_string(), text);
/// # Ok::<(), snapshot_lifecycle::InvalidCursor>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cursor {
    /// When the page's last snapshot was created; `None` where it has no such time, and so counts as oldest.
    pub created_at: Option<OffsetDateTime>,
    /// The page's last snapshot.
    pub id: Uuid,
}

/// The text is no [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: a page's cursor is MICROSECONDS_ID")]
#[non_exhaustive]
pub struct InvalidCursor;

const NANOS_PER_MICRO: i128 = 1_000;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.created_at {
            write!(f, "{}", at.unix_timestamp_nanos().div_euclid(NANOS_PER_MICRO))?;
        }
        write!(f, "_{}", self.id)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (micros, id) = text.split_once('_').ok_or(InvalidCursor)?;
        let created_at = if micros.is_empty() {
            None
        } else {
            let nanos = i128::from(micros.parse::<i64>().map_err(|_| InvalidCursor)?) * NANOS_PER_MICRO;
            let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(in_our_calendar);
            Some(at.ok_or(InvalidCursor)?)
        };
        Ok(Self { created_at, id: Uuid::try_parse(id).map_err(|_| InvalidCursor)? })
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn cursor_is_read_as_it_was_written() {
        let instants = [
            None,
            Some(datetime!(2026-01-05 12:00:00.123456 UTC)),
            Some(datetime!(1969-12-31 23:59:59.999999 UTC)),
            Some(datetime!(0001-01-01 0:00 UTC)),
            Some(datetime!(9999-12-31 23:59:59.999999 UTC)),
        ];
        for created_at in instants {
            let cursor = Cursor { created_at, id: Uuid::from_u128(7) };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            let json = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
        }
    }

    #[test]
    fn anything_else_is_no_cursor() {
        let id = Uuid::nil();
        for text in ["", "_", "7", &id.to_string(), &format!("x_{id}"), &format!("{}_{id}", i64::MAX), "7_8"] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
