//! RANDOM: any usable endpoint, by weight.

use rand::Rng;

use super::draw::Round;
use super::{Balance, Candidates};

/// Draws by weight, without memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Balance for Random {
    fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let round = Round::first(candidates);
        round
            .draw(None, rng)
            .or_else(|| round.with_repeats().draw(None, rng))
    }
}
