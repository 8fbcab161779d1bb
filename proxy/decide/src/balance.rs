//! Which endpoint of a version takes a request.
//!
//! The proxy shows its endpoints through [`Candidates`], which reads live state where it stands, and
//! keeps one [`Balancer`] per worker and version. A pick is bounded: with 10,000 endpoints of equal
//! weight, mostly ready, it draws a few numbers; only when draws keep hitting endpoints that are out
//! does it look through the list once.
//!
//! Endpoints that this request has already tried are left out, until all have been (semantics 26).
//!
//! The trait leaves room for what is to come: an EWMA balancer reads one more live value per candidate,
//! ring hash and Maglev read a key of the request (both as methods of [`Candidates`] with a default),
//! and locality is a balancer over balancers.

use rand::Rng;
use weir_config::model;

mod draw;
mod least_request;
mod random;
mod round_robin;

pub use draw::Spread;
pub use least_request::LeastRequest;
pub use random::Random;
pub use round_robin::RoundRobin;

/// The endpoints to choose from, by index, as one request sees them.
pub trait Candidates {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether weights differ, known from when the list was built ([`Spread::of`]).
    fn spread(&self) -> Spread;

    /// The weight of a candidate, in any unit common to all; 0 is never picked where weights differ.
    fn weight(&self, at: usize) -> u32;

    /// Requests in flight on it, from all workers.
    fn load(&self, at: usize) -> u32;

    /// Whether it may take a request now: ready, healthy, not ejected, not draining.
    fn available(&self, at: usize) -> bool;

    /// Whether this request has been sent to it before.
    fn tried(&self, at: usize) -> bool;
}

/// A way to choose.
pub trait Balance {
    /// The index of the endpoint that takes the request; `None` when none is available.
    fn pick<C: Candidates + ?Sized>(&mut self, candidates: &C, rng: &mut impl Rng)
    -> Option<usize>;
}

/// The balancer a service asks for.
#[derive(Debug, Clone)]
pub enum Balancer {
    LeastRequest(LeastRequest),
    RoundRobin(RoundRobin),
    Random(Random),
}

impl Balancer {
    /// A fresh balancer of this kind. One that has a place in a sequence starts at a random one.
    #[must_use]
    pub fn new(kind: &model::Balancer, rng: &mut impl Rng) -> Self {
        match kind {
            // No configuration asks for the last two yet.
            model::Balancer::LeastRequest
            | model::Balancer::PeakEwma
            | model::Balancer::ConsistentHash(_) => Self::LeastRequest(LeastRequest),
            model::Balancer::RoundRobin => Self::RoundRobin(RoundRobin::new(rng)),
            model::Balancer::Random => Self::Random(Random),
        }
    }
}

impl Balance for Balancer {
    #[inline]
    fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        match self {
            Self::LeastRequest(balancer) => balancer.pick(candidates, rng),
            Self::RoundRobin(balancer) => balancer.pick(candidates, rng),
            Self::Random(balancer) => balancer.pick(candidates, rng),
        }
    }
}
