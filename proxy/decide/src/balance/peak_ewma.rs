//! PEAK_EWMA: of two drawn at random, the one whose answer is to be expected sooner.
//!
//! The cost of a candidate is its latency ([`super::Ewma`]) x (1 + load over weight), where the load
//! counts the penalty for failures and the largest weight is 1. With one weight for all that is
//! Finagle's latency x (in flight + 1). A tie goes to the first drawn, so endpoints of like speed are
//! used in proportion to their weights, idle or busy.
//!
//! An endpoint without an estimate, new or not asked for long, has no cost to compare. It wins while it
//! has nothing in flight and no penalty, and loses from then on until its first answer is in: it is
//! asked soon, and never flooded. Between two of these the load decides.

use rand::Rng;

use super::draw::Round;
use super::least_request::lighter;
use super::{Balance, Candidates, pair};

/// Power of two choices by expected latency, without memory of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeakEwma;

impl Balance for PeakEwma {
    #[inline]
    fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        pair::pick(candidates, rng, sooner)
    }
}

fn sooner<C: Candidates + ?Sized>(round: &Round<'_, C>, a: usize, b: usize) -> usize {
    let b_wins = match (cost(round, a), cost(round, b)) {
        (Some(cost_a), Some(cost_b)) => cost_b < cost_a,
        (None, Some(_)) => round.burden(a) > 0,
        (Some(_), None) => round.burden(b) == 0,
        (None, None) => return lighter(round, a, b),
    };
    if b_wins { b } else { a }
}

/// The time to expect, in microseconds; `None` without an estimate.
#[inline]
pub(super) fn cost<C: Candidates + ?Sized>(round: &Round<'_, C>, at: usize) -> Option<f32> {
    let latency_us = round.candidates.latency_us(at)?;
    Some(latency_us * (1.0 + round.burden(at) as f32 / round.relative_weight(at)))
}
