//! What each candidate was judged by, for people: why this endpoint, and why not that one.

use super::draw::Round;
use super::{Balancer, Candidates, peak_ewma};

/// One candidate as a balancer sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Whether it may take a request now.
    pub available: bool,
    /// Whether this request has been sent to it before.
    pub tried: bool,
    /// In the unit of [`Candidates::weight`].
    pub weight: u32,
    /// Requests in flight.
    pub load: u32,
    /// What its failures count for, in requests in flight.
    pub penalty: u32,
    pub latency_us: Option<f32>,
    pub measure: Measure,
}

/// The number that a balancer goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// It takes no requests: it is not available, or its weight is 0.
    Out,
    /// Of two drawn, the lower takes the request: load and penalty over weight, the largest weight being 1.
    Load(f64),
    /// Of two drawn, the lower takes the request: the time to expect, in microseconds.
    CostUs(f64),
    /// It has no estimate, and takes the request from any other while it has nothing to do, or from none.
    Unmeasured { idle: bool },
    /// The part of requests it takes, from 0 to 1.
    Share(f64),
    /// Its place in the order of preference of the request's key, from 0, counting those that are out.
    Turn(usize),
}

impl Balancer {
    /// What each candidate is judged by, in their order. It looks at all, and allocates.
    #[must_use]
    pub fn scores<C: Candidates + ?Sized>(&self, candidates: &C) -> Vec<Score> {
        let round = Round::first(candidates).with_repeats();
        let usable = |at: &usize| round.usable(*at);
        let total: u64 = (0..candidates.len())
            .filter(usable)
            .map(|at| u64::from(round.weight(at)))
            .sum();
        let turns = self.turns(candidates);
        let measure = |at: usize| match (self, &turns) {
            _ if !round.usable(at) => Measure::Out,
            (_, Some(turns)) => turns[at].map_or(Measure::Out, Measure::Turn),
            (Self::LeastRequest(_), _) => Measure::Load(load(&round, at)),
            (Self::PeakEwma(_), _) => match peak_ewma::cost(&round, at) {
                Some(cost) => Measure::CostUs(f64::from(cost)),
                None => Measure::Unmeasured {
                    idle: round.burden(at) == 0,
                },
            },
            _ => Measure::Share(f64::from(round.weight(at)) / total as f64),
        };
        (0..candidates.len())
            .map(|at| Score {
                available: candidates.available(at),
                tried: candidates.tried(at),
                weight: candidates.weight(at),
                load: candidates.load(at),
                penalty: candidates.penalty(at),
                latency_us: candidates.latency_us(at),
                measure: measure(at),
            })
            .collect()
    }

    /// By candidate, when the table offers it to the request's key; `None` without either.
    fn turns<C: Candidates + ?Sized>(&self, candidates: &C) -> Option<Vec<Option<usize>>> {
        let (Self::ConsistentHash(balancer), Some(key)) = (self, candidates.key()) else {
            return None;
        };
        let mut turns = vec![None; candidates.len()];
        let mut next = 0;
        // With nobody usable, all are offered in order.
        balancer.table().find(key, |at| {
            if let Some(turn @ None) = turns.get_mut(at) {
                *turn = Some(next);
                next += 1;
            }
            false
        });
        Some(turns)
    }
}

fn load<C: Candidates + ?Sized>(round: &Round<'_, C>, at: usize) -> f64 {
    round.burden(at) as f64 / f64::from(round.relative_weight(at))
}
