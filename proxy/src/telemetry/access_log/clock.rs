//! Times as text, with the second remembered: the calendar is asked once a second, not once a line.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The texts of one second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<u64>,
    /// `2026-11-05T12:34:56.`
    rfc3339: String,
    /// `05/Nov/2026:12:34:56 +0000`
    common: String,
}

impl Clock {
    /// RFC 3339 in UTC with milliseconds.
    pub(super) fn rfc3339(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let millis = self.turn(time);
        out.extend_from_slice(self.rfc3339.as_bytes());
        let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
        out.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }

    /// As in the Common Log Format, in UTC, without brackets.
    pub(super) fn common(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        self.turn(time);
        out.extend_from_slice(self.common.as_bytes());
    }

    /// Makes the texts those of this second; returns the milliseconds in it.
    fn turn(&mut self, time: SystemTime) -> u16 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            self.write(since.as_secs());
        }
        u16::try_from(since.subsec_millis()).unwrap_or(0)
    }

    fn write(&mut self, second: u64) {
        use std::fmt::Write;
        let second = i64::try_from(second).unwrap_or(i64::MAX);
        let at = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let name = MONTHS[usize::from(month) - 1];
        self.rfc3339.clear();
        self.common.clear();
        // Writing to a String does not fail.
        let _ = write!(
            self.rfc3339,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}."
        );
        let _ = write!(
            self.common,
            "{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_in_both_ways_and_the_second_turns() {
        let mut clock = Clock::default();
        for (millis, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                1_794_000_896_007,
                "2026-11-06T21:34:56.007Z",
                "06/Nov/2026:21:34:56 +0000",
            ),
            (
                1_794_000_896_999,
                "2026-11-06T21:34:56.999Z",
                "06/Nov/2026:21:34:56 +0000",
            ),
            (
                1_794_000_897_000,
                "2026-11-06T21:34:57.000Z",
                "06/Nov/2026:21:34:57 +0000",
            ),
            (
                1_709_251_199_120,
                "2024-02-29T23:59:59.120Z",
                "29/Feb/2024:23:59:59 +0000",
            ),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            let (mut a, mut b) = (Vec::new(), Vec::new());
            clock.rfc3339(time, &mut a);
            clock.common(time, &mut b);
            assert_eq!(
                (a, b),
                (rfc3339.as_bytes().to_vec(), common.as_bytes().to_vec()),
                "{millis}"
            );
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_does_not_panic() {
        let mut clock = Clock::default();
        clock.rfc3339(UNIX_EPOCH - Duration::from_secs(1), &mut Vec::new());
        clock.rfc3339(UNIX_EPOCH + Duration::from_secs(1 << 60), &mut Vec::new());
    }
}
