/// A length of time as the flags read it, in one unit: 45s, 90m, 12h, 7d.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A length of time as people write it, by its largest unit and the next: 45s, 2m 5s, 3h, 1d 2h.
#[must_use]
pub fn rounded_duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let largest = UNITS.iter().position(|(length, _)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    let (length, unit) = UNITS[largest];
    let whole = format!("{}{unit}", seconds / length);
    match UNITS.get(largest + 1) {
        Some((next, unit)) if seconds % length >= *next => format!("{whole} {}{unit}", seconds % length / next),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_back_what_is_written() {
        let lengths = [45, 90, 5_400, 43_200, 604_800, 86_401].map(duration);
        assert_eq!(lengths, ["45s", "90s", "90m", "12h", "7d", "86401s"]);
    }

    #[test]
    fn rounded_lengths_have_their_two_largest_units() {
        let lengths = [0, 45, 60, 125, 10_800, 10_805, 86_401, 93_600, 604_800].map(rounded_duration);
        assert_eq!(lengths, ["0s", "45s", "1m", "2m 5s", "3h", "3h", "1d", "1d 2h", "7d"]);
    }
}
