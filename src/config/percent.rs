/// Reads `20%` or `20`. `0.2` may have been meant as a fifth, so less than one needs the sign.
pub fn parse_percent(text: &str) -> Result<f64, String> {
    let (number, least) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.0));
    let percent = number.parse().ok().filter(|percent| *percent > 0.0 && *percent >= least && *percent <= 100.0);
    percent
        .ok_or_else(|| "a share such as 20%, above 0% and at most 100%; below 1 with the sign, as in 0.2%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_below_one_needs_the_sign() {
        let read = ["20%", "20", "0.2%", "100", "1"].map(|text| parse_percent(text).ok());
        assert_eq!(read, [20.0, 20.0, 0.2, 100.0, 1.0].map(Some));
        for text in ["0.2", "0", "0%", "-1%", "100.1", "101%", "NaN", "", "%", "a fifth"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }
}
