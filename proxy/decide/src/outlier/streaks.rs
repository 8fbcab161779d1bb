//! Failures in a row, in one word.

use weir_config::model::OutlierDetection;

use super::Outcome;

/// How many bits a count has; three of them share a word.
const BITS: u32 = 21;
/// Where a count stops. A threshold above it is met here.
const MAX: u32 = (1 << BITS) - 1;

/// A row of failures that is as long as the policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Streak {
    /// Answers with a 5xx, and failures to answer unless they are split off.
    FiveXx,
    /// 502, 503 and 504, and failures to answer unless they are split off.
    Gateway,
    /// Failures to answer, where they are split off.
    LocalOrigin,
}

/// The failures in a row of one endpoint, as of each kind of [`Streak`].
///
/// The word is kept in one atomic: read it, compute [`Streaks::after`], and compare-exchange. An answer that
/// is no error, on streaks that are clear already, changes nothing, so the common case writes nothing. When
/// an ejection ends, store [`Streaks::CLEAR`] (semantics 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streaks(u64);

/// What an outcome does to one count.
#[derive(Clone, Copy)]
enum Effect {
    Grow,
    Reset,
    Keep,
}

impl Streaks {
    /// No failure since the last success.
    pub const CLEAR: Self = Self(0);

    /// From the word of [`Streaks::to_bits`].
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word to keep; 0 is [`Streaks::CLEAR`].
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether a success would change nothing.
    #[must_use]
    #[inline]
    pub const fn is_clear(self) -> bool {
        self.0 == 0
    }

    /// The streaks after one more outcome, and the streak that this completed, if one is.
    ///
    /// A complete streak starts again from nothing, so that it is told once per threshold rather than once
    /// per failure. Where one outcome completes two, both start again and the gateway streak is told, which
    /// is the one Envoy acts on.
    #[must_use]
    #[inline]
    pub fn after(self, outcome: Outcome, policy: &OutlierDetection) -> (Self, Option<Streak>) {
        if outcome == Outcome::Success {
            return (Self::CLEAR, None);
        }
        self.after_failure(outcome, policy)
    }

    fn after_failure(self, outcome: Outcome, policy: &OutlierDetection) -> (Self, Option<Streak>) {
        use Effect::{Grow, Keep, Reset};
        // Any answer shows that the endpoint was reached. In Envoy the same follows from the success that its
        // router reports for the connection before it reports the answer.
        let (five_xx, gateway, local) = match outcome {
            Outcome::Success => (Reset, Reset, Reset),
            Outcome::ServerError => (Grow, Reset, Reset),
            Outcome::Gateway => (Grow, Grow, Reset),
            Outcome::LocalOrigin if policy.split_local_origin => (Keep, Keep, Grow),
            Outcome::LocalOrigin => (Grow, Grow, Reset),
        };
        let (five_xx, is_five_xx) = self.step(0, five_xx, policy.consecutive_5xx);
        let (gateway, is_gateway) = self.step(1, gateway, policy.consecutive_gateway);
        let (local, is_local) = self.step(2, local, policy.consecutive_local_origin);
        let complete = if is_gateway {
            Some(Streak::Gateway)
        } else if is_five_xx {
            Some(Streak::FiveXx)
        } else {
            is_local.then_some(Streak::LocalOrigin)
        };
        (Self(five_xx | gateway | local), complete)
    }

    /// The count at that place after `effect`, where it stands in the word, and whether it met its threshold. One
    /// whose threshold is 0, which means off, stays 0, so that streaks nobody asked for are clear.
    fn step(self, place: u32, effect: Effect, threshold: u32) -> (u64, bool) {
        let shift = place * BITS;
        let count = (self.0 >> shift) & u64::from(MAX);
        let grown = match effect {
            Effect::Reset => 0,
            _ if threshold == 0 => 0,
            Effect::Keep => count,
            Effect::Grow => count + 1,
        };
        let complete = matches!(effect, Effect::Grow)
            && threshold != 0
            && grown >= u64::from(threshold.min(MAX));
        let left = if complete { 0 } else { grown };
        (left << shift, complete)
    }
}

#[cfg(test)]
mod tests;
