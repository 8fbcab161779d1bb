//! How long to wait before a control plane is asked again.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// The first wait is at most this.
const BASE: Duration = Duration::from_millis(500);
/// No wait is longer.
const CAP: Duration = Duration::from_secs(30);
/// A stream that lived this long was a good one: the next failure is a first one.
const GOOD: Duration = Duration::from_secs(30);

/// Full jitter: a wait is anything between nothing and a bound that doubles, so that a thousand proxies that lose their
/// control plane together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait.
    pub(crate) fn next(&mut self, random: &mut impl Rng) -> Duration {
        let bound = BASE
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(CAP);
        self.failures = (self.failures + 1).min(16);
        random.random_range(Duration::ZERO..=bound)
    }

    /// A stream ended that lived for that long.
    pub(crate) fn lived(&mut self, time: Duration) {
        if time >= GOOD {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    #[test]
    fn waits_are_spread_below_a_bound_that_doubles_up_to_thirty_seconds() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut most = [Duration::ZERO; 10];
        for _ in 0..500 {
            let mut backoff = Backoff::default();
            for (at, most) in most.iter_mut().enumerate() {
                let wait = backoff.next(&mut random);
                let bound = Duration::from_millis(500 << at).min(CAP);
                assert!(wait <= bound, "{at}: {wait:?}");
                *most = wait.max(*most);
            }
        }
        // They use the whole room.
        assert!(most[0] > Duration::from_millis(450), "{most:?}");
        assert!(most[9] > Duration::from_secs(27), "{most:?}");
    }

    #[test]
    fn only_a_stream_that_lived_makes_the_next_failure_a_first_one() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut backoff = Backoff::default();
        for _ in 0..40 {
            backoff.next(&mut random);
            backoff.lived(Duration::from_secs(1));
        }
        assert_eq!(backoff.failures, 16);
        backoff.lived(GOOD);
        assert!(backoff.next(&mut random) <= BASE);
    }
}
