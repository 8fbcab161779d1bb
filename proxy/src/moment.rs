//! A time on the machine's monotonic clock, as a plain number.
//!
//! [`std::time::Instant`] keeps seconds and nanoseconds apart and checks every difference; a request looks at the clock
//! three times and takes four differences, which is some 300 instructions of it. This is one number, and a difference
//! is a subtraction.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment before the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Reads the clock.
    #[inline]
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        // Neither part is ever negative, and 64 bits of nanoseconds last for 584 years.
        Self(
            (now.tv_sec as u64)
                .wrapping_mul(1_000_000_000)
                .wrapping_add(now.tv_nsec as u64),
        )
    }

    /// The time since an earlier moment; none if it was later.
    #[inline]
    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds since an earlier moment; none if it was later.
    #[inline]
    pub(crate) fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    /// The time since then.
    #[inline]
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_those_of_the_clock_and_never_negative() {
        let then = Moment::now();
        let later = then + Duration::from_millis(1500);
        assert_eq!(
            later.saturating_duration_since(then),
            Duration::from_millis(1500)
        );
        assert_eq!(later.millis_since(then), 1500);
        assert_eq!(then.saturating_duration_since(later), Duration::ZERO);
        assert!(then.elapsed() < Duration::from_secs(60) && Moment::now() >= then);
    }
}
