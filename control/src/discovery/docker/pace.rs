//! When to list and when to try again.

use std::time::Duration;

use tokio::time::Instant;

/// Quiet after an event before the list is asked for: starting one container makes several events.
const QUIET: Duration = Duration::from_millis(20);
/// From the first event on, however unquiet.
const AT_MOST: Duration = Duration::from_millis(100);

/// Coalesces events into lists, and lists no more than an engine can take.
#[derive(Debug, Default)]
pub(super) struct Pace {
    first: Option<Instant>,
    at: Option<Instant>,
    not_before: Option<Instant>,
}

impl Pace {
    /// Something happened.
    pub(super) fn nudge(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.at = Some((now + QUIET).min(first + AT_MOST));
    }

    /// A list is wanted as soon as may be.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.at = Some(now);
    }

    /// When the next list is due, if one is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.at
            .map(|at| self.not_before.map_or(at, |not_before| at.max(not_before)))
    }

    /// The list is being asked for.
    pub(super) fn begun(&mut self) {
        self.first = None;
        self.at = None;
    }

    /// It took that long. An engine is never busy with us for more than half of its time.
    pub(super) fn finished(&mut self, now: Instant, took: Duration) {
        self.not_before = Some(now + took);
    }
}

/// Ever longer waits between attempts.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

/// The first wait and the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Backoff {
    /// The wait before the next attempt. `chance` in 0..1 spreads several Weirs out: half to all of the nominal wait.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let nominal = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_coalesced_but_never_for_long() {
        let start = Instant::now();
        let ms = |n: u64| start + Duration::from_millis(n);
        let mut pace = Pace::default();
        assert_eq!(pace.due(), None);
        pace.nudge(ms(0));
        assert_eq!(pace.due(), Some(ms(20)));
        for n in (0..200).step_by(10) {
            pace.nudge(ms(n));
        }
        assert_eq!(pace.due(), Some(ms(100)));
        pace.begun();
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn a_slow_engine_is_asked_less_often() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.finished(start, Duration::from_secs(3));
        pace.nudge(start);
        assert_eq!(pace.due(), Some(start + Duration::from_secs(3)));
        pace.hurry(start + Duration::from_secs(4));
        assert_eq!(pace.due(), Some(start + Duration::from_secs(4)));
    }

    #[test]
    fn attempts_get_rarer_up_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(50));
    }
}
