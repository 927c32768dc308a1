use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time for a table: to the second, still RFC 3339. Any other text stays as it is.
#[must_use]
pub fn to_the_second(text: &str) -> String {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok();
    let second = at.and_then(|at| at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok());
    second.unwrap_or_else(|| text.to_owned())
}

/// As in `1 dead letter`, `2 dead letters`.
#[must_use]
pub fn counted(number: impl Into<u64>, thing: &str) -> String {
    match number.into() {
        1 => format!("1 {thing}"),
        more => format!("{more} {thing}s"),
    }
}

/// The text, or a dash in its place.
#[must_use]
pub fn dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_tables_are_to_the_second_and_anything_else_stays() {
        assert_eq!(to_the_second("2026-01-05T12:00:00.123456Z"), "2026-01-05T12:00:00Z");
        assert_eq!(to_the_second("yesterday"), "yesterday");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0_u32, 1, 2].map(|n| counted(n, "row")), ["0 rows", "1 row", "2 rows"]);
    }
}
