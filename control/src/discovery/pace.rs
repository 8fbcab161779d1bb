//! When to list and when to try again.

use std::time::Duration;

use tokio::time::Instant;

/// Quiet after an event before the list is asked for: starting one container makes several events.
const QUIET: Duration = Duration::from_millis(20);
/// From the first event on, however unquiet.
const AT_MOST: Duration = Duration::from_millis(100);

/// Coalesces events into lists, and lists no more than an engine can take.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    first: Option<Instant>,
    at: Option<Instant>,
    not_before: Option<Instant>,
    flow: Flow,
}

impl Pace {
    /// A new connection: what was to be listed on the old one will be anyway.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            flow: std::mem::take(&mut self.flow),
            ..Self::default()
        };
    }

    /// Something happened.
    pub(crate) fn nudge(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.at = Some((now + QUIET).min(first + AT_MOST));
    }

    /// A list is wanted as soon as may be.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.at = Some(now);
    }

    /// When the next list is due, if one is.
    pub(crate) fn due(&self) -> Option<Instant> {
        let bounds = [self.not_before, self.flow.next()];
        self.at
            .map(|at| bounds.into_iter().flatten().fold(at, Instant::max))
    }

    /// A list, or an event by itself, has changed the configuration.
    pub(crate) fn changed(&mut self, now: Instant) {
        self.flow.spend(now);
    }

    /// The list is being asked for.
    pub(crate) fn begun(&mut self) {
        self.first = None;
        self.at = None;
    }

    /// It took that long. An engine is never busy with us for more than half of its time.
    pub(crate) fn finished(&mut self, now: Instant, took: Duration) {
        self.not_before = Some(now + took);
    }
}

/// Changes that may follow each other at once, as those of a deployment do.
const BURST: u32 = 8;
/// Beyond that there is one change in this time: something flaps.
const SPREAD: Duration = Duration::from_millis(500);

/// Spreads changes out: a few at once, then two a second. What is told to stop never waits, but counts.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// When all that was spent is earned again.
    even_at: Option<Instant>,
}

impl Flow {
    /// The configuration changes now.
    pub(crate) fn spend(&mut self, now: Instant) {
        // However many stop at once, the wait for what comes next stays below a second.
        let most = now + SPREAD * (BURST + 1);
        let even_at = self.even_at.map_or(now, |at| at.max(now)) + SPREAD;
        self.even_at = Some(even_at.min(most));
    }

    /// Before then nothing should change; `None` where nothing was spent.
    pub(crate) fn next(&self) -> Option<Instant> {
        // An instant before the clock's beginning is no bound.
        self.even_at?.checked_sub(SPREAD * (BURST - 1))
    }
}

/// Ever longer waits between attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

/// The first wait and the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Backoff {
    /// The wait before the next attempt. `chance` in 0..1 spreads several Weirs out: half to all of the nominal wait.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let nominal = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flaps_changes_the_configuration_twice_a_second_at_most() {
        let start = Instant::now();
        let mut flow = Flow::default();
        let mut now = start;
        let mut changes = Vec::new();
        while now < start + Duration::from_secs(20) {
            if flow.next().is_none_or(|next| next <= now) {
                flow.spend(now);
                changes.push(now - start);
            }
            now += Duration::from_millis(10);
        }
        let at_once = changes
            .iter()
            .filter(|at| at.is_zero() || at.as_millis() < 100);
        assert_eq!(at_once.count(), BURST as usize);
        let late: Vec<_> = changes.iter().filter(|at| at.as_secs() >= 10).collect();
        assert!((19..=20).contains(&late.len()), "{late:?}");
    }

    #[test]
    fn a_mass_of_stops_holds_up_what_follows_for_a_second_at_most() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut flow = Flow::default();
        for _ in 0..1000 {
            flow.spend(now);
        }
        assert!(flow.next().unwrap() <= now + Duration::from_secs(1));
        assert!(flow.next().unwrap() > now);
    }

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
