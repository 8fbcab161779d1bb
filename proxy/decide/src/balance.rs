//! Which endpoint of a version takes a request.
//!
//! The proxy shows its endpoints through [`Candidates`], which reads live state where it stands, and
//! keeps one [`Balancer`] per worker and version. A pick is bounded: with 10,000 endpoints of equal
//! weight, mostly ready, it draws a few numbers; only when draws keep hitting endpoints that are out
//! does it look through the list once.
//!
//! Endpoints that this request has already tried are left out, until all have been (semantics 26).
//!
//! What balancers go by beside the load is small values that workers share, one `u64` each, so that an
//! atomic holds them: an [`Ewma`] of latency and a [`Penalty`] for failures. A [`HashTable`] is built
//! once for each membership and shared as it is. Priorities, panic and locality come before: a
//! [`Grouped`] balancer picks one of the groups that [`crate::locality`] lays out by the shares that
//! [`crate::levels`] computes, and then within it.

use std::sync::Arc;

use rand::Rng;
use weir_config::model;

mod draw;
mod ewma;
mod groups;
mod hash;
mod least_request;
mod pair;
mod peak_ewma;
mod penalty;
mod random;
mod round_robin;
mod score;
mod stamped;
mod view;
mod warmup;

pub use draw::Spread;
pub use ewma::Ewma;
pub use groups::{Grouped, Groups, Member};
pub use hash::{ConsistentHash, HashTable, hash_ip, hash_key};
pub use least_request::LeastRequest;
pub use peak_ewma::PeakEwma;
pub use penalty::Penalty;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use score::{Measure, Score};
pub use view::{InPanic, Subset};
pub use warmup::{factor, ramp, scaled};

/// The endpoints to choose from, by index, as one request sees them.
///
/// The methods with a default are read only by the balancers that go by them.
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

    /// Whether it may take a request in panic (semantics 6): ejected and failing ones may, those that
    /// are draining, removed or in maintenance may not. Default: those available.
    fn usable_in_panic(&self, at: usize) -> bool {
        self.available(at)
    }

    /// Whether this request has been sent to it before.
    fn tried(&self, at: usize) -> bool;

    /// What its answers take, in microseconds ([`Ewma::latency_us`]); `None` while nothing is known.
    fn latency_us(&self, at: usize) -> Option<f32> {
        let _ = at;
        None
    }

    /// What its failures count for, in requests in flight ([`Penalty::in_requests`]). Default 0.
    fn penalty(&self, at: usize) -> u32 {
        let _ = at;
        0
    }

    /// The hash of the request's key ([`hash_key`]); `None` for a request without one.
    fn key(&self) -> Option<u64> {
        None
    }
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
    PeakEwma(PeakEwma),
    ConsistentHash(ConsistentHash),
}

impl Balancer {
    /// A fresh balancer of this kind. One that has a place in a sequence starts at a random one.
    ///
    /// `table` is for a balancer by key, built of the same members in the same order
    /// ([`HashTable::new`]); without it such a balancer serves every request as one without a key.
    #[must_use]
    pub fn new(kind: &model::Balancer, table: Option<&Arc<HashTable>>, rng: &mut impl Rng) -> Self {
        match (kind, table) {
            (model::Balancer::LeastRequest, _) => Self::LeastRequest(LeastRequest),
            (model::Balancer::RoundRobin, _) => Self::RoundRobin(RoundRobin::new(rng)),
            (model::Balancer::PeakEwma, _) => Self::PeakEwma(PeakEwma),
            (model::Balancer::ConsistentHash(_), Some(table)) => {
                Self::ConsistentHash(ConsistentHash::new(Arc::clone(table)))
            }
            (model::Balancer::Random | model::Balancer::ConsistentHash(_), _) => {
                Self::Random(Random)
            }
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
            Self::PeakEwma(balancer) => balancer.pick(candidates, rng),
            Self::ConsistentHash(balancer) => balancer.pick(candidates, rng),
        }
    }
}
