//! Which faults a request meets.

use std::time::Duration;

use rand::{Rng, RngExt};
use weir_config::model::{Fault, Percent};

/// What is done to one request; a delay comes before an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    pub delay: Option<Duration>,
    /// The status to answer with.
    pub abort: Option<u16>,
}

/// Draws for one request. Delay and abort are drawn apart, as Envoy's fault filter does: of 10% and 5%, one request in
/// two hundred meets both.
pub fn draw(fault: &Fault, rng: &mut impl Rng) -> Injected {
    let delay = fault.delay.filter(|delay| hits(delay.percent, rng));
    let abort = fault.abort.filter(|abort| hits(abort.percent, rng));
    Injected {
        delay: delay.map(|delay| delay.duration),
        abort: abort.map(|abort| abort.status),
    }
}

/// Whether a request is among that many percent. All and nothing need no luck.
pub fn hits(percent: Percent, rng: &mut impl Rng) -> bool {
    match percent {
        Percent::ALL => true,
        percent => {
            percent.tenths() > 0 && rng.random_range(0..Percent::ALL.tenths()) < percent.tenths()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use weir_config::model::{Abort, Delay};

    const DRAWS: u32 = 100_000;

    fn fault(delay: &str, abort: &str) -> Fault {
        Fault {
            delay: Some(Delay {
                duration: Duration::from_secs(2),
                percent: delay.parse().unwrap(),
            }),
            abort: Some(Abort {
                status: 503,
                percent: abort.parse().unwrap(),
            }),
        }
    }

    /// Requests of a hundred thousand that meet a delay, an abort, and both.
    fn counts(fault: &Fault, seed: u64) -> [u32; 3] {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut counts = [0; 3];
        for _ in 0..DRAWS {
            let injected = draw(fault, &mut rng);
            counts[0] += u32::from(injected.delay.is_some());
            counts[1] += u32::from(injected.abort.is_some());
            counts[2] += u32::from(injected.delay.is_some() && injected.abort.is_some());
        }
        counts
    }

    #[test]
    fn faults_come_as_often_as_stated_and_independently() {
        for seed in 0..5 {
            let got = counts(&fault("10", "0.5"), seed);
            // Five standard deviations of a binomial distribution.
            for (got, p) in got.into_iter().zip([0.1, 0.005, 0.0005]) {
                let (n, got) = (f64::from(DRAWS), f64::from(got));
                let bound = 5.0 * (n * p * (1.0 - p)).sqrt();
                assert!((got - n * p).abs() <= bound, "seed {seed}: {got} for {p}");
            }
        }
    }

    #[test]
    fn all_and_nothing_are_exact() {
        assert_eq!(counts(&fault("100", "0"), 1), [DRAWS, 0, 0]);
        let none = Fault {
            delay: None,
            abort: None,
        };
        assert_eq!(
            draw(&none, &mut SmallRng::seed_from_u64(1)),
            Injected::default()
        );
    }
}
