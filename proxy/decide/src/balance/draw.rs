//! Drawing candidates at random, by weight, among those that are usable.
//!
//! A draw first guesses: it takes any candidate and keeps it if it is usable and, where weights differ,
//! with the chance of its weight over the largest. That is exact and takes few guesses in a healthy
//! list. When guesses run out, or the list is short, the usable ones are counted through, which is
//! exact too and costs one look at each.

use rand::Rng;

use super::Candidates;

/// Lists up to this length are counted through at once where weights differ.
const SHORT: usize = 64;
/// Guesses before counting through.
const GUESSES: usize = 16;

/// What is known of a list's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All the same (and taken as 1, even if they are 0).
    Equal,
    /// They differ; this is the largest.
    Mixed { max: u32 },
}

impl Spread {
    /// Looks at all weights; for when a list is built.
    #[must_use]
    pub fn of(weights: impl IntoIterator<Item = u32>) -> Self {
        let mut weights = weights.into_iter();
        let Some(first) = weights.next() else {
            return Self::Equal;
        };
        let (min, max) = weights.fold((first, first), |(min, max), weight| {
            (min.min(weight), max.max(weight))
        });
        if min == max {
            Self::Equal
        } else {
            Self::Mixed { max }
        }
    }
}

/// Who may be drawn in one round of a pick.
#[derive(Clone, Copy)]
pub(super) struct Round<'c, C: ?Sized> {
    pub(super) candidates: &'c C,
    spread: Spread,
    /// Every candidate has been tried, so a repeat is allowed.
    repeats: bool,
}

impl<'c, C: Candidates + ?Sized> Round<'c, C> {
    pub(super) fn first(candidates: &'c C) -> Self {
        Self {
            candidates,
            spread: candidates.spread(),
            repeats: false,
        }
    }

    /// The round after one that found nobody.
    pub(super) fn with_repeats(self) -> Self {
        Self {
            repeats: true,
            ..self
        }
    }

    #[inline]
    pub(super) fn usable(&self, at: usize) -> bool {
        self.candidates.available(at)
            && (self.repeats || !self.candidates.tried(at))
            && self.weight(at) > 0
    }

    #[inline]
    pub(super) fn weight(&self, at: usize) -> u32 {
        match self.spread {
            Spread::Equal => 1,
            Spread::Mixed { .. } => self.candidates.weight(at),
        }
    }

    /// The weight, where the largest is 1.
    #[inline]
    pub(super) fn relative_weight(&self, at: usize) -> f32 {
        match self.spread {
            Spread::Equal => 1.0,
            Spread::Mixed { max } => self.candidates.weight(at) as f32 / max.max(1) as f32,
        }
    }

    /// What it has to do: requests in flight, and failures counted as some.
    #[inline]
    pub(super) fn burden(&self, at: usize) -> u64 {
        u64::from(self.candidates.load(at)) + u64::from(self.candidates.penalty(at))
    }

    /// A usable candidate other than `except`, each with the chance of its weight.
    pub(super) fn draw(&self, except: Option<usize>, rng: &mut impl Rng) -> Option<usize> {
        let len = self.candidates.len();
        let guesses = match self.spread {
            Spread::Equal => GUESSES.min(len),
            Spread::Mixed { .. } if len <= SHORT => 0,
            Spread::Mixed { .. } => GUESSES,
        };
        for _ in 0..guesses {
            let bits = rng.next_u64();
            let at = below(bits & HALF, len);
            if except != Some(at) && self.usable(at) && self.accepts(at, bits >> 32) {
                return Some(at);
            }
        }
        self.count_through(except, rng)
    }

    /// Keeps a guess with the chance of its weight over the largest.
    fn accepts(&self, at: usize, bits: u64) -> bool {
        match self.spread {
            Spread::Equal => true,
            Spread::Mixed { max } => (bits * u64::from(max)) >> 32 < u64::from(self.weight(at)),
        }
    }

    fn count_through(&self, except: Option<usize>, rng: &mut impl Rng) -> Option<usize> {
        let usable =
            || (0..self.candidates.len()).filter(|&at| except != Some(at) && self.usable(at));
        let total: u64 = usable().map(|at| u64::from(self.weight(at))).sum();
        if total == 0 {
            return None;
        }
        // 64 random bits scaled: the bias is below the total over 2^64.
        let scaled = (u128::from(rng.next_u64()) * u128::from(total)) >> 64;
        let mut left = u64::try_from(scaled).unwrap_or(0);
        let mut last = None;
        for at in usable() {
            let weight = u64::from(self.weight(at));
            if left < weight {
                return Some(at);
            }
            left -= weight;
            last = Some(at);
        }
        // Live state changed between the two looks.
        last
    }
}

/// The lower half of 64 random bits.
pub(super) const HALF: u64 = 0xffff_ffff;

/// Scales 32 random bits to an index below `len`, which is at most 2^32.
#[inline]
pub(super) fn below(bits: u64, len: usize) -> usize {
    usize::try_from((bits * len as u64) >> 32).unwrap_or(0)
}
