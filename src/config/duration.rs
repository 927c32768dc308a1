use std::time::Duration;

/// Reads a duration as the interface writes it: a whole number and `ms`, `s`, `m`, `h` or `d`, such as `250ms`, `30s`, `5m`, `7d`.
///
/// Zero is refused: no interval and no timeout of ours can be zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || "a duration above zero, written 250ms, 30s, 5m, 12h or 7d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    match number.checked_mul(millis_per_unit) {
        // A century: beyond it, clocks and the database's intervals overflow one after the other.
        Some(millis @ 1..=3_155_760_000_000) => Ok(Duration::from_millis(millis)),
        _ => Err(refused()),
    }
}

/// The same, without fractions of a second.
pub fn parse_whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.subsec_nanos() == 0 {
        Ok(duration)
    } else {
        Err("whole seconds, written 30s, 5m, 12h or 7d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_interface_are_read() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("12h", 43_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "5", "m", "0s", "-5s", "5 m", "1.5s", "5M", "99999999999999999999s", "18446744073709551615d", "5m30s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_of_a_second_are_refused_where_they_cannot_be_stored() {
        assert_eq!(parse_whole_seconds("2000ms"), Ok(Duration::from_secs(2)));
        assert!(parse_whole_seconds("2500ms").is_err());
    }
}
