//! Seeded simulations of the balancers.

use std::cell::Cell;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_config::model;
use weir_decide::balance::{Balance, Balancer, Candidates, Spread};

const ALL: [model::Balancer; 3] = [
    model::Balancer::LeastRequest,
    model::Balancer::RoundRobin,
    model::Balancer::Random,
];

#[derive(Clone)]
struct Pool {
    weights: Vec<u32>,
    loads: Vec<u32>,
    out: Vec<bool>,
    tried: Vec<bool>,
    spread: Spread,
    /// How many times a candidate was looked at.
    looks: Cell<usize>,
}

impl Pool {
    fn new(weights: &[u32]) -> Self {
        let len = weights.len();
        Self {
            weights: weights.to_vec(),
            loads: vec![0; len],
            out: vec![false; len],
            tried: vec![false; len],
            spread: Spread::of(weights.iter().copied()),
            looks: Cell::new(0),
        }
    }
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
        !self.out[at]
    }
    fn tried(&self, at: usize) -> bool {
        self.tried[at]
    }
}

/// Counts over so many picks, with nothing in flight.
fn deal(kind: &model::Balancer, pool: &Pool, picks: usize, seed: u64) -> Vec<usize> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut balancer = Balancer::new(kind, None, &mut rng);
    let mut counts = vec![0; pool.len()];
    for _ in 0..picks {
        counts[balancer.pick(pool, &mut rng).unwrap()] += 1;
    }
    counts
}

/// Each count within five standard deviations of its share.
fn assert_shares(counts: &[usize], shares: &[u32], what: &str) {
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

#[test]
fn an_idle_pool_is_used_by_weight() {
    for seed in 0..20 {
        for kind in &ALL {
            for weights in [&[10, 10, 10, 10][..], &[10, 20, 70], &[10, 30, 0, 60]] {
                let counts = deal(kind, &Pool::new(weights), 20_000, seed);
                // Of two idle ones drawn by weight the first is taken, so least request is exact too.
                assert_shares(&counts, weights, &format!("{kind:?} seed {seed}"));
            }
        }
    }
}

#[test]
fn a_long_list_with_different_weights_is_used_by_weight() {
    let weights: Vec<u32> = (0..500).map(|n| 1 + n % 7).collect();
    for kind in &ALL {
        assert_shares(
            &deal(kind, &Pool::new(&weights), 500_000, 5),
            &weights,
            &format!("{kind:?}"),
        );
    }
}

#[test]
fn round_robin_is_exact_over_each_cycle_and_starts_anywhere() {
    let mut firsts = std::collections::HashSet::new();
    for seed in 0..60 {
        let counts = deal(&model::Balancer::RoundRobin, &Pool::new(&[1; 7]), 700, seed);
        assert_eq!(counts, [100; 7], "seed {seed}");
        let first = deal(&model::Balancer::RoundRobin, &Pool::new(&[1; 7]), 1, seed);
        firsts.insert(first.iter().position(|&count| count == 1));
        let counts = deal(
            &model::Balancer::RoundRobin,
            &Pool::new(&[1, 2, 5]),
            800,
            seed,
        );
        for (count, expected) in counts.iter().zip([100, 200, 500]) {
            assert!(count.abs_diff(expected) <= 1, "seed {seed}: {counts:?}");
        }
    }
    assert_eq!(firsts.len(), 7);
}

#[test]
fn an_endpoint_that_is_out_leaves_its_share_to_all_others() {
    for kind in &ALL {
        for weights in [&[5; 6][..], &[5, 5, 5, 10, 10, 10]] {
            let mut pool = Pool::new(weights);
            pool.out[1] = true;
            pool.out[4] = true;
            let mut shares = weights.to_vec();
            (shares[1], shares[4]) = (0, 0);
            assert_shares(&deal(kind, &pool, 30_000, 9), &shares, &format!("{kind:?}"));
        }
    }
}

#[test]
fn no_endpoint_available_is_no_pick() {
    for kind in &ALL {
        for len in [0, 1, 2, 5, 100] {
            let mut pool = Pool::new(&vec![1; len]);
            pool.out.fill(true);
            let mut rng = SmallRng::seed_from_u64(1);
            assert_eq!(
                Balancer::new(kind, None, &mut rng).pick(&pool, &mut rng),
                None,
                "{kind:?} of {len}"
            );
        }
    }
}

#[test]
fn a_retry_goes_elsewhere_until_there_is_no_elsewhere() {
    // semantics 26
    for kind in &ALL {
        for weights in [&[1, 1][..], &[3, 3, 3, 3, 3], &[1, 2, 3]] {
            for seed in 0..200 {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut balancer = Balancer::new(kind, None, &mut rng);
                let mut pool = Pool::new(weights);
                pool.out[0] = true;
                for _ in 1..weights.len() {
                    let at = balancer.pick(&pool, &mut rng).unwrap();
                    assert!(
                        !pool.tried[at] && at != 0,
                        "{kind:?} seed {seed}: {at} again"
                    );
                    pool.tried[at] = true;
                }
                let again = balancer
                    .pick(&pool, &mut rng)
                    .expect("repeats are allowed when all were tried");
                assert_ne!(again, 0);
            }
        }
    }
    let mut alone = Pool::new(&[1]);
    alone.tried[0] = true;
    for kind in &ALL {
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(
            Balancer::new(kind, None, &mut rng).pick(&alone, &mut rng),
            Some(0)
        );
    }
}

#[test]
fn least_request_keeps_away_from_the_loaded() {
    let mut pool = Pool::new(&[1; 10]);
    pool.loads[3] = 50;
    assert_eq!(deal(&model::Balancer::LeastRequest, &pool, 5000, 2)[3], 0);
    // By weight: 10 in flight on a weight of 10 is as much as 1 on a weight of 1.
    let mut pool = Pool::new(&[1, 10]);
    pool.loads = vec![1, 9];
    assert_eq!(
        deal(&model::Balancer::LeastRequest, &pool, 1000, 2),
        [0, 1000]
    );
    pool.loads = vec![1, 11];
    assert_eq!(
        deal(&model::Balancer::LeastRequest, &pool, 1000, 2),
        [1000, 0]
    );
}

#[test]
fn where_two_are_left_both_are_compared() {
    let mixed: Vec<u32> = (0..100).map(|n| 5 + n % 3).collect();
    for weights in [&[1; 20][..], &mixed, &mixed[..10]] {
        let mut pool = Pool::new(weights);
        pool.out.fill(true);
        (pool.out[3], pool.out[7]) = (false, false);
        pool.loads[3] = 50;
        assert_eq!(
            deal(&model::Balancer::LeastRequest, &pool, 2000, 6)[7],
            2000
        );
    }
}

#[test]
fn under_slow_and_fast_endpoints_least_request_keeps_queues_level() {
    for seed in 0..30 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut balancer = Balancer::new(&model::Balancer::LeastRequest, &mut rng);
        let mut pool = Pool::new(&[1; 20]);
        let mut served = [0u32; 20];
        for step in 0..20_000 {
            let at = balancer.pick(&pool, &mut rng).unwrap();
            pool.loads[at] += 1;
            served[at] += 1;
            // Endpoint n finishes one request each 10 + n steps: the last is about a third as fast.
            for n in 0..20 {
                if step % (10 + n) == 0 {
                    pool.loads[n] = pool.loads[n].saturating_sub(1);
                }
            }
            let (low, high) = (
                pool.loads.iter().min().unwrap(),
                pool.loads.iter().max().unwrap(),
            );
            assert!(
                high - low <= 12,
                "seed {seed} step {step}: {:?}",
                pool.loads
            );
        }
        assert!(served[0] > served[19], "seed {seed}");
    }
}

#[test]
fn ten_thousand_endpoints_cost_a_few_looks() {
    for kind in &ALL {
        let mut pool = Pool::new(&vec![1; 10_000]);
        for dead in 0..1000 {
            pool.out[dead * 10] = true;
        }
        pool.looks.set(0);
        deal(kind, &pool, 10_000, 4);
        let each = pool.looks.get() as f64 / 10_000.0;
        assert!(each < 4.0, "{kind:?}: {each} looks for each pick");
    }
}
