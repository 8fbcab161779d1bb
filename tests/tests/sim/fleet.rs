//! Endpoints and their moods.

use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};
use weir_decide::breaker::Permits;
use weir_decide::health::{Health, Thresholds};
use weir_decide::outlier::{Outcome, Streaks, Window};

/// How an endpoint behaves for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// One answer in a hundred is an error.
    Well,
    /// Well, and takes seconds.
    Slow,
    /// That many answers in a hundred are errors.
    Failing(u32),
    /// Takes requests and never answers.
    Hanging,
    /// Refuses connections.
    Dead,
    /// Well and dead in turn, by the second.
    Flapping,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Tells an endpoint from an earlier one with the same id.
    pub(crate) born: u64,
    pub(crate) mood: Mood,
    pub(crate) health: Health,
    /// As the proxy keeps them: the word of an atomic.
    pub(crate) streaks: u64,
    pub(crate) window: Window,
    /// Outlives the endpoint while requests are in flight on it.
    pub(crate) permits: Rc<Permits>,
}

impl Endpoint {
    pub(crate) fn new(born: u64, rng: &mut SmallRng) -> Self {
        Self {
            born,
            mood: Mood::any(rng),
            health: Health::new(Thresholds::default()),
            streaks: Streaks::CLEAR.to_bits(),
            window: Window::default(),
            permits: Rc::new(Permits::new()),
        }
    }
}

impl Mood {
    /// Mostly well.
    pub(crate) fn any(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..20) {
            0 => Self::Slow,
            1..=3 => Self::Failing(rng.random_range(20..=100)),
            4 => Self::Hanging,
            5..=6 => Self::Dead,
            7..=8 => Self::Flapping,
            _ => Self::Well,
        }
    }

    /// What a request gets that starts now, and after how long.
    pub(crate) fn serve(self, now: Duration, rng: &mut impl Rng) -> (Outcome, Duration) {
        let quick = Duration::from_millis(rng.random_range(1..50));
        match self {
            Self::Well => (answer(1, rng), quick),
            Self::Slow => (answer(1, rng), quick * 60),
            Self::Failing(percent) => (answer(percent, rng), quick),
            Self::Hanging => (Outcome::LocalOrigin, Duration::from_secs(1)),
            Self::Dead => (Outcome::LocalOrigin, Duration::from_millis(1)),
            Self::Flapping => self.phase(now).serve(now, rng),
        }
    }

    /// Whether an active check passes now. One that fails its requests passes its check.
    pub(crate) fn passes_check(self, now: Duration) -> bool {
        match self {
            Self::Well | Self::Slow | Self::Failing(_) => true,
            Self::Hanging | Self::Dead => false,
            Self::Flapping => self.phase(now).passes_check(now),
        }
    }

    /// Whether it takes a connection now.
    pub(crate) fn accepts(self, now: Duration) -> bool {
        self.phase(now) != Self::Dead
    }

    fn phase(self, now: Duration) -> Self {
        match self {
            Self::Flapping if now.as_secs().is_multiple_of(2) => Self::Well,
            Self::Flapping => Self::Dead,
            steady => steady,
        }
    }
}

fn answer(error_percent: u32, rng: &mut impl Rng) -> Outcome {
    if rng.random_range(0..100) >= error_percent {
        Outcome::Success
    } else if rng.random_bool(0.5) {
        Outcome::ServerError
    } else {
        Outcome::Gateway
    }
}
