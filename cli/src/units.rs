//! Durations, sizes and shares as people write them on a command line.

use std::time::Duration;

/// Reads `250ms`, `1.5s`, `2m`, `1h`; a bare `0` needs no unit.
///
/// # Errors
/// Says which units exist.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration; write 250ms, 1.5s, 2m or 1h");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())
}

/// Reads `10%`, `10` (percent too) or `0.5%` into tenths of a percent, 0 to 1000.
///
/// # Errors
/// Says what a share looks like.
pub(crate) fn tenths_of_percent(text: &str) -> Result<u32, String> {
    let bad = || format!("{text:?} is not a share; write 10% or 0.5%");
    let number: f64 = text
        .strip_suffix('%')
        .unwrap_or(text)
        .parse()
        .map_err(|_| bad())?;
    if !(0.0..=100.0).contains(&number) {
        return Err(bad());
    }
    let tenths = number * 10.0;
    // In 0.0..=1000.0, so neither sign nor range is lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(tenths.round() as u32)
}

/// A length of time in the largest two units: `3d 4h`, `5m 2s`, `12s`.
pub(crate) fn age(seconds: u64) -> String {
    let (d, h, m, s) = (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m {s}s"),
        (0, _, _) => format!("{h}h {m}m"),
        _ => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_take_fractions() {
        for (text, millis) in [
            ("250ms", 250),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("0", 0),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "ms", "-1s", "1 s", "1d", "1e400s"] {
            assert!(duration(text).is_err(), "{text} was read as a duration");
        }
    }

    #[test]
    fn shares_are_percent_with_or_without_the_sign() {
        for (text, tenths) in [("10%", 100), ("0.5%", 5), ("100", 1000), ("0", 0)] {
            assert_eq!(tenths_of_percent(text), Ok(tenths), "{text}");
        }
        for text in ["", "%", "-1%", "101%", "NaN", "ten"] {
            assert!(
                tenths_of_percent(text).is_err(),
                "{text} was read as a share"
            );
        }
    }

    #[test]
    fn an_age_names_its_two_largest_units() {
        for (seconds, text) in [
            (12, "12s"),
            (302, "5m 2s"),
            (3 * 3600 + 60, "3h 1m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
