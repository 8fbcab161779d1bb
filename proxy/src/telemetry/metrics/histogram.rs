//! Histograms of times with fixed bounds, written by one thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, inclusive; a last bucket takes all above.
pub(super) const BOUNDS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// [`BOUNDS_US`] in seconds, as they stand in the label `le`.
pub(super) const BOUNDS_TEXT: [&str; 14] = [
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
    "10", "+Inf",
];

/// Adds to a number that only this thread writes: a load and a store, no locked instruction.
pub(super) fn add(number: &AtomicU64, more: u64) {
    number.store(
        number.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

/// How many times fell into each bucket, and their sum.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; 14],
    sum_us: AtomicU64,
}

impl Histogram {
    /// To be called by the one thread that owns it.
    #[inline]
    pub(super) fn observe(&self, time: Duration) {
        let us = time
            .as_secs()
            .wrapping_mul(1_000_000)
            .wrapping_add(u64::from(time.subsec_micros()));
        // Most requests end within the first bounds, which makes a scan from below the shortest way.
        let at = BOUNDS_US
            .iter()
            .position(|bound| us <= *bound)
            .unwrap_or(BOUNDS_US.len());
        add(&self.buckets[at], 1);
        add(&self.sum_us, us);
    }
}

/// A histogram read once, or several added up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// Not cumulative.
    pub(super) buckets: [u64; 14],
    pub(super) sum_us: u64,
}

impl Reading {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum = sum.wrapping_add(bucket.load(Ordering::Relaxed));
        }
        self.sum_us = self
            .sum_us
            .wrapping_add(histogram.sum_us.load(Ordering::Relaxed));
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        for (us, at) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_500, 1),
            (999_999, 9),
            (10_000_000, 12),
            (10_000_001, 13),
        ] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(us));
            let mut reading = Reading::default();
            reading.add(&histogram);
            assert_eq!(
                reading.buckets.iter().position(|n| *n == 1),
                Some(at),
                "{us} us"
            );
            assert_eq!((reading.count(), reading.sum_us), (1, us));
        }
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        let histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        let mut reading = Reading::default();
        reading.add(&histogram);
        assert_eq!(reading.buckets.iter().sum::<u64>(), 1);
    }

    #[test]
    fn the_texts_are_the_bounds() {
        for (us, text) in BOUNDS_US.iter().zip(BOUNDS_TEXT) {
            assert_eq!(
                text.parse::<f64>().unwrap(),
                Duration::from_micros(*us).as_secs_f64()
            );
        }
        assert_eq!(BOUNDS_TEXT.last(), Some(&"+Inf"));
    }
}
