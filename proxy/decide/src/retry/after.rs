//! `Retry-After`: how long an endpoint asks to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest that an endpoint is left alone because it asked for it: 300 s (semantics 11).
pub const MAX_PAUSE: Duration = Duration::from_secs(300);

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The time that a field of this value asks for, at most [`MAX_PAUSE`]; `None` where it asks for none, names a moment that
/// has passed, or cannot be read.
#[must_use]
pub fn pause(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let asked = if is_number {
        // One that is too large to be held is beyond the cap as well.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(date(text)?))?;
        moment.duration_since(now).ok()?
    };
    (!asked.is_zero()).then(|| asked.min(MAX_PAUSE))
}

/// Seconds since 1970 of a date in any of the three forms that a recipient must accept (RFC 9110, section 5.6.7).
fn date(text: &str) -> Option<u64> {
    let words: Vec<&str> = text
        .split([' ', ',', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    let (day, month, year, time) = match words[..] {
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        // Of C's asctime().
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = match year.parse().ok()? {
        // Of RFC 850: a pause begins now, in this century.
        short @ 0..100 => 2000 + short,
        year @ 1970..10_000 => year,
        _ => return None,
    };
    Some(days(year, month, day) * 86_400 + seconds(time)?)
}

/// Days from 1970 to a date of the Gregorian calendar; years are counted from March, so that a leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let before = 365 * year + year / 4 - year / 100 + year / 400;
    before + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Of `08:49:37`.
fn seconds(time: &str) -> Option<u64> {
    let mut parts = time.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let fits = hours < 24 && minutes < 60 && seconds <= 60 && parts.next().is_none();
    fits.then_some(hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked at this many seconds since 1970; the answer in seconds.
    fn check(value: &str, now: u64, expected: Option<u64>) {
        let now = UNIX_EPOCH + Duration::from_secs(now);
        let expected = expected.map(Duration::from_secs);
        assert_eq!(pause(value.as_bytes(), now), expected, "{value:?}");
    }

    // semantics 11
    #[test]
    fn seconds_are_taken_up_to_the_cap_and_nothing_else() {
        check("2", 0, Some(2));
        check(" 120 ", 0, Some(120));
        check("301", 0, Some(300));
        check("99999999999999999999999", 0, Some(300));
        for nothing in ["0", "", "-1", "1.5", "+2", "soon", "2 s", "\u{663}"] {
            check(nothing, 0, None);
        }
    }

    // semantics 11
    #[test]
    fn a_date_counts_from_now_in_each_of_its_three_forms() {
        let now = 784_111_777 - 30;
        check("Sun, 06 Nov 1994 08:49:37 GMT", now, Some(30));
        check("Sun Nov  6 08:49:37 1994", now, Some(30));
        check("Friday, 31-Dec-99 23:59:59 GMT", 4_102_444_799 - 7, Some(7));
        check("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800 - 5, Some(5));
        check("Thu, 01 Jan 1970 00:00:09 GMT", 0, Some(9));
        check("Sun, 06 Nov 1994 08:49:37 GMT", 0, Some(300));
        for nothing in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nom 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 18446744073709551615 08:49:37 GMT",
        ] {
            check(nothing, 784_111_777, None);
        }
    }
}
