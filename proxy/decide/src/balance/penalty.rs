//! What failures cost: an endpoint that fails fast has little in flight, and must not look idle.
//!
//! The penalty is counted in requests, as if so many more were in flight (semantics 11). A failure
//! doubles what is left of it and adds four; a success halves it; and each second without either halves
//! it too. So failures in a row soon weigh more than any load that the others carry, an endpoint that
//! goes on failing is asked about once each second or two, and a few successes clear it.

use super::stamped::Stamped;

/// Added for each failure, so that even among idle endpoints one failure is remembered for 3 s.
const STEP: f32 = 4.0;
/// The most it grows to; it is over after 13 s.
const MAX: f32 = 4096.0;
const HALF_LIFE_MS: f32 = 1000.0;
/// Less than this is nothing.
const NOTHING: f32 = 0.5;

/// A penalty for failures that fades, in 64 bits. The default is none, and has all bits zero.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Penalty(Stamped);

impl Penalty {
    /// Reads what [`Penalty::to_bits`] wrote.
    #[must_use]
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(Stamped::from_bits(bits))
    }

    /// The penalty as an atomic holds it; 0 for none.
    #[must_use]
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The penalty after one more request. A success without a penalty changes nothing: there is then
    /// nothing to store.
    #[must_use]
    #[inline]
    pub fn after(self, failed: bool, now_ms: u64) -> Self {
        if self.0.is_empty() && !failed {
            return Self::default();
        }
        let left = self.left(now_ms);
        let next = if failed {
            (2.0 * left + STEP).min(MAX)
        } else {
            left / 2.0
        };
        if next < NOTHING {
            return Self::default();
        }
        Self(self.0.with(next, now_ms))
    }

    /// How many requests in flight it counts for.
    #[must_use]
    #[inline]
    pub fn in_requests(self, now_ms: u64) -> u32 {
        if self.0.is_empty() {
            return 0;
        }
        self.left(now_ms).round() as u32
    }

    fn left(self, now_ms: u64) -> f32 {
        let left = self.0.value * (-(self.0.age_ms(now_ms) as f32) / HALF_LIFE_MS).exp2();
        if left < NOTHING { 0.0 } else { left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(count: usize, now_ms: u64) -> Penalty {
        (0..count).fold(Penalty::default(), |penalty, _| penalty.after(true, now_ms))
    }

    #[test]
    fn failures_in_a_row_weigh_ever_more_up_to_a_bound() {
        // semantics 11
        for (count, expected) in [(0, 0), (1, 4), (2, 12), (3, 28), (4, 60), (20, 4096)] {
            assert_eq!(
                failures(count, 500).in_requests(500),
                expected,
                "{count} failures"
            );
        }
    }

    #[test]
    fn it_fades_by_half_each_second_and_is_then_over() {
        let penalty = failures(3, 1000);
        for (now_ms, expected) in [(1000, 28), (2000, 14), (3000, 7), (6000, 1), (7000, 0)] {
            assert_eq!(penalty.in_requests(now_ms), expected, "at {now_ms}");
        }
        assert_eq!(failures(100, 1000).in_requests(15_000), 0);
    }

    #[test]
    fn successes_clear_it_down_to_the_last_bit() {
        let mut penalty = failures(20, 0);
        for _ in 0..14 {
            penalty = Penalty::from_bits(penalty.to_bits()).after(false, 0);
        }
        assert_eq!(penalty.to_bits(), 0);
        assert_eq!(Penalty::default().after(false, 77).to_bits(), 0);
    }
}
