//! LEAST_REQUEST: the less loaded of two drawn at random.
//!
//! Where weights differ, two are compared by load over weight; a tie goes to the first drawn. So idle
//! endpoints are used in proportion to their weights, and busy ones are filled in proportion.
//! (Comparing the load plus one would send all of a quiet service's requests to the heavier endpoint of
//! a pair.) Failures count as load, for a while ([`super::Penalty`]).

use std::cmp::Ordering;

use rand::Rng;

use super::draw::Round;
use super::{Balance, Candidates, pair};

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
        pair::pick(candidates, rng, lighter)
    }
}

/// Compares load over weight by cross multiplication.
#[inline]
pub(super) fn lighter<C: Candidates + ?Sized>(round: &Round<'_, C>, a: usize, b: usize) -> usize {
    let cost = |at: usize, other: usize| {
        round
            .burden(at)
            .saturating_mul(u64::from(round.weight(other)))
    };
    match cost(b, a).cmp(&cost(a, b)) {
        Ordering::Less => b,
        Ordering::Equal | Ordering::Greater => a,
    }
}
