//! LEAST_REQUEST: the less loaded of two drawn at random.
//!
//! Two random choices keep the longest queue exponentially shorter than one, without the herd that
//! picking the least loaded of all brings when load figures are shared (Mitzenmacher, "The Power of Two
//! Choices in Randomized Load Balancing").
//!
//! Where weights differ, both are drawn by weight and compared by load over weight; a tie goes to the
//! first drawn. So idle endpoints are used in proportion to their weights, and busy ones are filled in
//! proportion. (Comparing the load plus one would send all of a quiet service's requests to the
//! heavier endpoint of a pair.)

use std::cmp::Ordering;

use rand::Rng;

use super::draw::{HALF, Round, Spread, below};
use super::{Balance, Candidates};

/// Power of two choices, without memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRequest;

impl Balance for LeastRequest {
    #[inline]
    fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let round = Round::first(candidates);
        if candidates.len() == 1 {
            // No choice, and so nothing to draw: most services run one replica of a version.
            return candidates.available(0).then_some(0);
        }
        if let Some((a, b)) = guess_pair(&round, rng) {
            return Some(lighter(&round, a, b));
        }
        drawn_pair(&round, rng).or_else(|| drawn_pair(&round.with_repeats(), rng))
    }
}

/// Two distinct candidates from one random number, if both happen to be usable: the common case.
#[inline]
fn guess_pair<C: Candidates + ?Sized>(
    round: &Round<'_, C>,
    rng: &mut impl Rng,
) -> Option<(usize, usize)> {
    let len = round.candidates.len();
    if len < 2 || round.candidates.spread() != Spread::Equal {
        return None;
    }
    let bits = rng.next_u64();
    let a = below(bits & HALF, len);
    let b = below(bits >> 32, len - 1);
    let b = b + usize::from(b >= a);
    (round.usable(a) && round.usable(b)).then_some((a, b))
}

fn drawn_pair<C: Candidates + ?Sized>(round: &Round<'_, C>, rng: &mut impl Rng) -> Option<usize> {
    let a = round.draw(None, rng)?;
    Some(round.draw(Some(a), rng).map_or(a, |b| lighter(round, a, b)))
}

/// Compares load over weight by cross multiplication.
#[inline]
fn lighter<C: Candidates + ?Sized>(round: &Round<'_, C>, a: usize, b: usize) -> usize {
    let cost = |at: usize, other: usize| {
        u64::from(round.candidates.load(at)) * u64::from(round.weight(other))
    };
    match cost(b, a).cmp(&cost(a, b)) {
        Ordering::Less => b,
        Ordering::Equal | Ordering::Greater => a,
    }
}
