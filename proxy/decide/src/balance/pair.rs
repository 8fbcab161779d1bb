//! Two random choices, and the better of them.
//!
//! Two keep the longest queue exponentially shorter than one, without the herd that picking the best of
//! all brings when figures are shared (Mitzenmacher, "The Power of Two Choices in Randomized Load
//! Balancing"). Where weights differ, both are drawn by weight.

use rand::Rng;

use super::Candidates;
use super::draw::{HALF, Round, Spread, below};

/// The better of two usable candidates; `better` takes the first drawn and the second, and prefers the
/// first in a tie, so that ties are spread by weight.
#[inline]
pub(super) fn pick<'c, C: Candidates + ?Sized>(
    candidates: &'c C,
    rng: &mut impl Rng,
    better: impl Fn(&Round<'c, C>, usize, usize) -> usize,
) -> Option<usize> {
    if candidates.len() == 1 {
        // No choice, and so nothing to draw: most services run one replica of a version.
        return candidates.available(0).then_some(0);
    }
    let round = Round::first(candidates);
    if let Some((a, b)) = guess(&round, rng) {
        return Some(better(&round, a, b));
    }
    draw(&round, rng, &better).or_else(|| draw(&round.with_repeats(), rng, &better))
}

/// Two distinct candidates from one random number, if both happen to be usable: the common case.
#[inline]
fn guess<C: Candidates + ?Sized>(
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

fn draw<'c, C: Candidates + ?Sized>(
    round: &Round<'c, C>,
    rng: &mut impl Rng,
    better: &impl Fn(&Round<'c, C>, usize, usize) -> usize,
) -> Option<usize> {
    let a = round.draw(None, rng)?;
    Some(round.draw(Some(a), rng).map_or(a, |b| better(round, a, b)))
}
