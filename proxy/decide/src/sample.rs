//! Which traces are recorded.
//!
//! Whoever begins a trace decides for all of it, and the decision travels with the request (OpenTelemetry,
//! `ParentBased`). Ours is a draw of chance and not a function of the trace's id: a caller that is not trusted chooses its
//! ids, and would choose those that are recorded.

use rand::{Rng, RngExt};
use weir_config::model::Sampling;

/// Whether a trace is recorded. `said` is what the caller decided, `None` where it decided nothing or is not to be
/// followed.
pub fn records(said: Option<bool>, share: Sampling, rng: &mut impl Rng) -> bool {
    said.unwrap_or_else(|| match share {
        Sampling::NONE => false,
        Sampling::ALL => true,
        share => rng.random_range(0..Sampling::ALL.hundredths()) < share.hundredths(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn roots_are_recorded_as_often_as_stated() {
        const DRAWS: u32 = 200_000;
        for seed in 0..5 {
            for hundredths in [0, 1, 25, 100, 5000, 9999, 10_000] {
                let share = Sampling::from_hundredths(hundredths);
                let mut rng = SmallRng::seed_from_u64(seed);
                let got = (0..DRAWS)
                    .filter(|_| records(None, share, &mut rng))
                    .count();
                let p = f64::from(hundredths) / 10_000.0;
                let (n, got) = (f64::from(DRAWS), got as f64);
                // Five standard deviations of a binomial distribution.
                let bound = 5.0 * (n * p * (1.0 - p)).sqrt();
                assert!(
                    (got - n * p).abs() <= bound,
                    "{got} at {share}%, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn a_caller_that_decided_is_followed_whatever_the_share() {
        let mut rng = SmallRng::seed_from_u64(1);
        assert!(records(Some(true), Sampling::NONE, &mut rng));
        assert!(!records(Some(false), Sampling::ALL, &mut rng));
    }
}
