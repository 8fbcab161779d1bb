//! What an endpoint's answers take: a moving average that jumps to peaks and forgets them slowly.
//!
//! The estimate is that of Finagle's Peak EWMA, which linkerd uses too. With `w = e^(-age / 10 s)`, a
//! sample above the estimate replaces it at once, so that one slow answer is heeded before the next
//! request; a sample below moves it to `estimate * w + sample * (1 - w)`. Between samples an estimate
//! is read as `estimate * w`: an endpoint that nobody asks is tried again in time.
//!
//! An estimate without a sample for 30 s is forgotten rather than read at less than a twentieth: an
//! endpoint that was slow and then left alone must not look fast and be flooded, but be asked once, as
//! a new one is.

use std::time::Duration;

use super::stamped::Stamped;

/// The time in which the weight of the past falls to 1/e (Finagle and linkerd: 10 s).
const DECAY_MS: f32 = 10_000.0;
/// An estimate of this age is no longer one.
const STALE_MS: u32 = 30_000;

/// A moving average of latency, in 64 bits. The default knows nothing.
///
/// Samples are what successful answers took, from the request's last hop to the head of the answer.
/// Failures are no samples, as failing is often quick: they count in the [`super::Penalty`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ewma(Stamped);

impl Ewma {
    /// Reads what [`Ewma::to_bits`] wrote; 0 is an estimate without a sample.
    #[must_use]
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(Stamped::from_bits(bits))
    }

    /// The estimate as an atomic holds it.
    #[must_use]
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The estimate after one more sample. `now_ms` is any clock that all workers share.
    #[must_use]
    pub fn after(self, sample: Duration, now_ms: u64) -> Self {
        // At least a microsecond: 0 would be no estimate.
        let sample_us = (sample.as_secs_f32() * 1e6).max(1.0);
        let next = match self.decayed(now_ms) {
            Some(decayed) if sample_us < decayed => {
                decayed + sample_us * (1.0 - weight_of_the_past(self.0.age_ms(now_ms)))
            }
            _ => sample_us,
        };
        Self(self.0.with(next, now_ms))
    }

    /// What to expect of the next answer, in microseconds; `None` without a sample in the last 30 s.
    #[must_use]
    #[inline]
    pub fn latency_us(self, now_ms: u64) -> Option<f32> {
        self.decayed(now_ms)
    }

    #[inline]
    fn decayed(self, now_ms: u64) -> Option<f32> {
        let age_ms = self.0.age_ms(now_ms);
        let known = !self.0.is_empty() && age_ms < STALE_MS;
        known.then(|| self.0.value * weight_of_the_past(age_ms))
    }
}

#[inline]
fn weight_of_the_past(age_ms: u32) -> f32 {
    (-(age_ms as f32) / DECAY_MS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn check(ewma: Ewma, now_ms: u64, expected_us: f32) {
        let seen = ewma.latency_us(now_ms).unwrap();
        assert!(
            (seen - expected_us).abs() <= expected_us * 1e-3,
            "{seen} for {expected_us}"
        );
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_with_the_time_constant() {
        let ewma = Ewma::default().after(10 * MS, 1000).after(100 * MS, 1000);
        check(ewma, 1000, 100_000.0);
        // 100 e^-1
        check(ewma, 11_000, 36_788.0);
        // 100 e^-0.5 + 10 (1 - e^-0.5)
        check(ewma.after(10 * MS, 6000), 6000, 64_588.0);
        check(ewma.after(200 * MS, 6000), 6000, 200_000.0);
    }

    #[test]
    fn steady_samples_bring_an_estimate_down_to_them_in_half_a_minute() {
        let mut ewma = Ewma::default().after(1000 * MS, 0);
        for step in 1..=6000 {
            ewma = Ewma::from_bits(ewma.to_bits()).after(10 * MS, step * 10);
        }
        // 10 ms and what is left of the second after six time constants.
        check(ewma, 60_000, 12_450.0);
    }

    #[test]
    fn nothing_is_known_without_a_sample_or_long_after_it() {
        assert_eq!(Ewma::default().latency_us(5), None);
        assert_eq!(Ewma::default().to_bits(), 0);
        let ewma = Ewma::default().after(10 * MS, 1000);
        assert!(ewma.latency_us(30_999).is_some());
        assert_eq!(ewma.latency_us(31_000), None);
        // And what comes next starts afresh.
        check(ewma.after(MS, 31_000), 31_000, 1000.0);
        check(Ewma::default().after(Duration::ZERO, 0), 0, 1.0);
    }
}
