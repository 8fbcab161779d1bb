//! Endpoints as plain numbers, and balancers over them.

use std::cell::Cell;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_config::model::{self, ConsistentHash, HashKey};
use weir_decide::balance::{Balance, Balancer, Candidates, HashTable, Spread, hash_key};

/// Those whose shares depend on weights and chance alone.
pub(crate) const BY_WEIGHT: [model::Balancer; 4] = [
    model::Balancer::LeastRequest,
    model::Balancer::RoundRobin,
    model::Balancer::Random,
    model::Balancer::PeakEwma,
];

pub(crate) const RING: model::Balancer = by_key(model::HashTable::Ring { min_size: 1024 });
/// Of fewer slots than the default, for the sake of simulations that build hundreds.
pub(crate) const MAGLEV: model::Balancer = by_key(model::HashTable::Maglev { size: 4099 });

const fn by_key(table: model::HashTable) -> model::Balancer {
    model::Balancer::ConsistentHash(ConsistentHash {
        key: HashKey::SourceIp,
        table,
    })
}

/// Every balancer.
pub(crate) fn all() -> Vec<model::Balancer> {
    BY_WEIGHT.into_iter().chain([RING, MAGLEV]).collect()
}

#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) weights: Vec<u32>,
    pub(crate) loads: Vec<u32>,
    /// Ejected or failing.
    pub(crate) out: Vec<bool>,
    /// Taken out on purpose.
    pub(crate) drained: Vec<bool>,
    pub(crate) tried: Vec<bool>,
    pub(crate) latency_us: Vec<Option<f32>>,
    pub(crate) penalties: Vec<u32>,
    pub(crate) key: Cell<Option<u64>>,
    /// How many times a candidate was looked at.
    pub(crate) looks: Cell<usize>,
    spread: Spread,
}

impl Pool {
    pub(crate) fn new(weights: &[u32]) -> Self {
        let len = weights.len();
        Self {
            weights: weights.to_vec(),
            loads: vec![0; len],
            out: vec![false; len],
            drained: vec![false; len],
            tried: vec![false; len],
            latency_us: vec![None; len],
            penalties: vec![0; len],
            key: Cell::new(None),
            looks: Cell::new(0),
            spread: Spread::of(weights.iter().copied()),
        }
    }

    /// A balancer over these, with a table of them where it goes by key.
    pub(crate) fn balancer(&self, kind: &model::Balancer, rng: &mut SmallRng) -> Balancer {
        let table = match kind {
            model::Balancer::ConsistentHash(hash) => {
                let ids: Vec<String> = (0..self.len()).map(id).collect();
                let ids = ids.iter().map(String::as_str);
                let members: Vec<(&str, u32)> = ids.zip(self.weights.iter().copied()).collect();
                Some(Arc::new(HashTable::new(hash.table, &members)))
            }
            _ => None,
        };
        Balancer::new(kind, table.as_ref(), rng)
    }

    /// A request with a key of its own.
    pub(crate) fn next_request(&self, rng: &mut SmallRng) {
        self.key.set(Some(hash_key(&rng.next_u64().to_le_bytes())));
    }
}

pub(crate) fn id(at: usize) -> String {
    format!("container{at}:80")
}

impl Candidates for Pool {
    fn len(&self) -> usize {
        self.weights.len()
    }
    fn spread(&self) -> Spread {
        self.spread
    }
    fn weight(&self, at: usize) -> u32 {
        self.weights[at]
    }
    fn load(&self, at: usize) -> u32 {
        self.loads[at]
    }
    fn available(&self, at: usize) -> bool {
        self.looks.set(self.looks.get() + 1);
        !self.out[at] && !self.drained[at]
    }
    fn usable_in_panic(&self, at: usize) -> bool {
        !self.drained[at]
    }
    fn tried(&self, at: usize) -> bool {
        self.tried[at]
    }
    fn latency_us(&self, at: usize) -> Option<f32> {
        self.latency_us[at]
    }
    fn penalty(&self, at: usize) -> u32 {
        self.penalties[at]
    }
    fn key(&self) -> Option<u64> {
        self.key.get()
    }
}

/// Counts over so many picks, with nothing in flight; each request has a key of its own.
pub(crate) fn deal(kind: &model::Balancer, pool: &Pool, picks: usize, seed: u64) -> Vec<usize> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut balancer = pool.balancer(kind, &mut rng);
    let mut counts = vec![0; pool.len()];
    for _ in 0..picks {
        pool.next_request(&mut rng);
        counts[balancer.pick(pool, &mut rng).unwrap()] += 1;
    }
    counts
}

/// Each count within five standard deviations of its share.
pub(crate) fn assert_shares(counts: &[usize], shares: &[u32], what: &str) {
    let picks: f64 = counts.iter().map(|&count| count as f64).sum();
    let total: f64 = shares.iter().copied().map(f64::from).sum();
    for (count, share) in counts.iter().zip(shares) {
        let share = f64::from(*share) / total;
        let off = (*count as f64 - share * picks).abs();
        assert!(
            off <= 5.0 * (picks * share * (1.0 - share)).sqrt() + 1.0,
            "{what}: {counts:?} for {shares:?}"
        );
    }
}
