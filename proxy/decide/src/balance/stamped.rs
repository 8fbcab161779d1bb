//! A number and the time it was true, in the 64 bits that one atomic holds.

/// Workers read their clocks a little apart: a stamp that much ahead is taken as of now.
const SKEW_MS: u32 = 60_000;

/// A value that fades, as of `at_ms`. All bits zero is nothing at all.
///
/// The stamp has 32 bits of milliseconds, which come round after 49 days. A value that nobody touched
/// for that long may be taken for a recent one; the next change sets it right.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Stamped {
    /// 0 or more.
    pub(super) value: f32,
    at_ms: u32,
}

impl Stamped {
    pub(super) fn from_bits(bits: u64) -> Self {
        Self {
            value: f32::from_bits((bits >> 32) as u32),
            at_ms: bits as u32,
        }
    }

    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.value.to_bits()) << 32 | u64::from(self.at_ms)
    }

    pub(super) fn is_empty(self) -> bool {
        self.value <= 0.0
    }

    /// Milliseconds since the stamp; 0 when it lies ahead.
    pub(super) fn age_ms(self, now_ms: u64) -> u32 {
        let age = (now_ms as u32).wrapping_sub(self.at_ms);
        if age > u32::MAX - SKEW_MS { 0 } else { age }
    }

    /// Another value as of now, or of the stamp where that is later.
    pub(super) fn with(self, value: f32, now_ms: u64) -> Self {
        let ahead = !self.is_empty() && self.age_ms(now_ms) == 0;
        Self {
            value,
            at_ms: if ahead { self.at_ms } else { now_ms as u32 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_carry_the_value_there_and_back() {
        for (value, now) in [(0.0, 0), (1.5, 7), (3e9, u64::from(u32::MAX))] {
            let stamped = Stamped::default().with(value, now);
            assert_eq!(Stamped::from_bits(stamped.to_bits()), stamped);
        }
        assert_eq!(Stamped::default().to_bits(), 0);
    }

    #[test]
    fn age_survives_the_clock_coming_round_and_workers_apart() {
        let late = Stamped::default().with(1.0, u64::from(u32::MAX) - 10);
        assert_eq!(late.age_ms(u64::from(u32::MAX) + 90), 100);
        // Another worker's clock is a little behind: no time has passed, and none is taken back.
        assert_eq!(late.age_ms(u64::from(u32::MAX) - 1000), 0);
        assert_eq!(
            late.with(2.0, u64::from(u32::MAX) - 1000).at_ms,
            u32::MAX - 10
        );
    }
}
