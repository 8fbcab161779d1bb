//! How requests are shared out among the backends or versions of a rule.
//!
//! Two ways: [`SplitState::pick`] deals requests out smoothly, one by one; [`Split::by_bucket`] gives a
//! client the same answer each time ([`sticky`]). A [`Split`] holds the weights and is shared; a
//! [`SplitState`] belongs to one worker.
//!
//! Dealing is smooth weighted round robin, as in nginx: each turn every entry gains its weight, the
//! highest is picked and loses the sum of all. 50/50 alternates, 5/1/1 gives `a a b a c a a`, and over
//! each full cycle (the sum of the weights over their greatest common divisor) every share is exact.
//!
//! The turn at which a state starts is drawn at random. Otherwise every worker and every reload would
//! begin with the heaviest entry, and with few requests between reloads a canary of 5% would never be
//! reached. From a random turn each single pick has the right odds, so shares hold however often the
//! state is thrown away.

use rand::{Rng, RngExt};
use weir_config::model::Weight;

mod sticky;

pub use sticky::bucket;

/// Cycles up to this many turns times entries are walked exactly to find a starting turn; longer ones
/// on weights scaled down to about this many turns.
const WALK: u64 = 1024;

/// The weights of a rule's backends or of a service's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    weights: Box<[Weight]>,
    /// Takes what the others leave in the sticky layout.
    base: usize,
    total: u64,
    /// The entry that takes everything, when there is only one.
    only: Option<usize>,
}

impl Split {
    /// A split over these weights; the last entry is the base of the sticky layout.
    #[must_use]
    pub fn new(weights: &[Weight]) -> Self {
        Self::with_base(weights, weights.len().saturating_sub(1))
    }

    /// A split whose base is entry `base`: `stable`, where there is one. See [`Split::by_bucket`].
    #[must_use]
    pub fn with_base(weights: &[Weight], base: usize) -> Self {
        let mut positive = (0..weights.len()).filter(|&at| weights[at] > Weight::ZERO);
        let only = positive.next().filter(|_| positive.next().is_none());
        let total = weights
            .iter()
            .map(|weight| u64::from(weight.tenths()))
            .sum();
        Self {
            weights: weights.into(),
            base,
            total,
            only,
        }
    }

    /// How many entries there are, those of weight 0 included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The weights, in the order they were given.
    #[must_use]
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The share of an entry, from 0 to 1.
    #[must_use]
    pub fn share(&self, at: usize) -> f64 {
        let sum: f64 = self.weights.iter().map(|weight| weight.as_f64()).sum();
        let own = self.weights.get(at).map_or(0.0, |weight| weight.as_f64());
        if sum > 0.0 { own / sum } else { 0.0 }
    }
}

/// Whose turn it is: one worker's place in the cycle of one [`Split`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitState {
    entries: Box<[Turn]>,
    total: i64,
    only: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    weight: i64,
    /// What it is owed, in units of weight; all of them add up to about 0 between picks.
    credit: i64,
}

impl SplitState {
    /// Starts at a random turn of the cycle.
    #[must_use]
    pub fn new(split: &Split, rng: &mut impl Rng) -> Self {
        let mut state = Self::at_rest(
            split
                .weights
                .iter()
                .map(|weight| i64::from(weight.tenths())),
        );
        let (Ok(total), None) = (u64::try_from(state.total), split.only) else {
            return state;
        };
        let divisor = state
            .entries
            .iter()
            .fold(0, |divisor, turn| gcd(divisor, turn.weight.unsigned_abs()));
        let cycle = total.checked_div(divisor).unwrap_or(1);
        if cycle <= WALK {
            state.walk(rng.random_range(0..cycle.max(1)));
        } else {
            state.start_as_scaled(rng);
        }
        state
    }

    /// The state for `split` that follows `old`: the same place in the cycle when the weights are the
    /// same, so that a reload does not disturb the order; a new start when they are not.
    #[must_use]
    pub fn carry(split: &Split, old: &Self, rng: &mut impl Rng) -> Self {
        let weights = split
            .weights
            .iter()
            .map(|weight| i64::from(weight.tenths()));
        if weights.eq(old.entries.iter().map(|turn| turn.weight)) {
            old.clone()
        } else {
            Self::new(split, rng)
        }
    }

    /// The entry whose turn it is; `None` when no entry has a weight above 0.
    #[inline]
    pub fn pick(&mut self) -> Option<usize> {
        if self.only.is_some() {
            return self.only;
        }
        let mut best: Option<(usize, i64)> = None;
        for (at, turn) in self.entries.iter_mut().enumerate() {
            turn.credit += turn.weight;
            if turn.weight > 0 && best.is_none_or(|(_, credit)| turn.credit > credit) {
                best = Some((at, turn.credit));
            }
        }
        let (at, _) = best?;
        self.entries[at].credit -= self.total;
        Some(at)
    }

    fn at_rest(weights: impl Iterator<Item = i64>) -> Self {
        let entries: Box<[Turn]> = weights.map(|weight| Turn { weight, credit: 0 }).collect();
        let total = entries.iter().map(|turn| turn.weight).sum();
        let mut positive = (0..entries.len()).filter(|&at| entries[at].weight > 0);
        let only = positive.next().filter(|_| positive.next().is_none());
        Self {
            entries,
            total,
            only,
        }
    }

    fn walk(&mut self, turns: u64) {
        for _ in 0..turns {
            self.pick();
        }
    }

    /// Walks a coarse copy of the split to a random turn and takes its credits over, scaled up.
    fn start_as_scaled(&mut self, rng: &mut impl Rng) {
        let walk = i64::try_from(WALK).unwrap_or(i64::MAX);
        let scale = |turn: &Turn| (turn.weight * walk / self.total).max(i64::from(turn.weight > 0));
        let mut coarse = Self::at_rest(self.entries.iter().map(scale));
        coarse.walk(rng.random_range(0..u64::try_from(coarse.total).unwrap_or(1).max(1)));
        let (total, coarse_total) = (self.total, coarse.total.max(1));
        // Rounding leaves the sum off zero by less than a unit an entry, which moves no share.
        for (turn, coarse) in self.entries.iter_mut().zip(&coarse.entries) {
            turn.credit = coarse.credit * total / coarse_total;
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
