//! ROUND_ROBIN: each usable endpoint in turn, smoothly by weight.
//!
//! With equal weights a cursor goes round the list and steps over what is not usable, so the turn is
//! O(1) and an endpoint that is out leaves its share to all others, not to its neighbour alone. With
//! different weights it is smooth weighted round robin over the usable ones, O(n), up to
//! `SMOOTH` endpoints; beyond that draws by weight, which meet the same shares without the order.

use rand::{Rng, RngExt};

use super::draw::{Round, Spread};
use super::{Balance, Candidates};

/// The longest list with different weights that is dealt in order.
const SMOOTH: usize = 64;

/// A place in the sequence; one worker's.
#[derive(Debug, Clone)]
pub struct RoundRobin {
    /// Where the next equal turn starts looking; taken modulo the length.
    cursor: usize,
    /// What each candidate is owed, where weights differ.
    credit: Vec<i64>,
}

impl RoundRobin {
    /// Starts at a random place, so that workers and reloads do not all favour the first endpoint.
    #[must_use]
    pub fn new(rng: &mut impl Rng) -> Self {
        // Half of the range, so that the cursor's steps cannot overflow in any lifetime.
        Self {
            cursor: rng.random_range(0..u32::MAX as usize),
            credit: Vec::new(),
        }
    }

    fn turn<C: Candidates + ?Sized>(&mut self, round: &Round<'_, C>) -> Option<usize> {
        let len = round.candidates.len();
        let start = self.cursor.checked_rem(len)?;
        let at = (start..len).chain(0..start).find(|&at| round.usable(at))?;
        self.cursor = at + 1;
        Some(at)
    }

    fn smooth_turn<C: Candidates + ?Sized>(
        &mut self,
        round: &Round<'_, C>,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let len = round.candidates.len();
        if self.credit.len() != len {
            self.start(round, rng);
        }
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (at, credit) in self.credit.iter_mut().enumerate() {
            if !round.usable(at) {
                continue;
            }
            let weight = i64::from(round.weight(at));
            *credit += weight;
            total += weight;
            if best.is_none_or(|(_, highest)| *credit > highest) {
                best = Some((at, *credit));
            }
        }
        let (at, _) = best?;
        self.credit[at] -= total;
        Some(at)
    }

    /// Credits that add up to nothing, each within one turn of it: as if the sequence were under way.
    fn start<C: Candidates + ?Sized>(&mut self, round: &Round<'_, C>, rng: &mut impl Rng) {
        let len = round.candidates.len();
        self.credit.clear();
        self.credit.resize(len, 0);
        for at in 1..len {
            let bound = i64::from(round.weight(at).min(round.weight(at - 1)));
            let shift = rng.random_range(-bound..=bound) / 2;
            self.credit[at] += shift;
            self.credit[at - 1] -= shift;
        }
    }
}

impl Balance for RoundRobin {
    fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let first = Round::first(candidates);
        let mut take = |round: &Round<'_, C>| match candidates.spread() {
            Spread::Equal => self.turn(round),
            Spread::Mixed { .. } if candidates.len() <= SMOOTH => self.smooth_turn(round, rng),
            Spread::Mixed { .. } => round.draw(None, rng),
        };
        take(&first).or_else(|| take(&first.with_repeats()))
    }
}
