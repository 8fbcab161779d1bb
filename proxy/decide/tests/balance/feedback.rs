//! Fleets whose endpoints slow down, fail, and come back: what balancers make of it over time.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_config::model;
use weir_decide::balance::{Balance, Ewma, Penalty};

use crate::pool::Pool;

/// One endpoint as the simulation runs it.
#[derive(Clone, Copy)]
struct Origin {
    takes_ms: u64,
    fails: bool,
}

/// A fleet under a steady stream of requests.
struct Fleet {
    origins: Vec<Origin>,
    pool: Pool,
    latency: Vec<Ewma>,
    penalty: Vec<Penalty>,
    /// When which request ends, and how long it took.
    ends: Vec<(u64, usize, u64, bool)>,
    served: Vec<u32>,
    now_ms: u64,
    rng: SmallRng,
    kind: model::Balancer,
}

const STEADY: Origin = Origin {
    takes_ms: 20,
    fails: false,
};

impl Fleet {
    fn new(kind: &model::Balancer, size: usize, seed: u64) -> Self {
        Self {
            origins: vec![STEADY; size],
            pool: Pool::new(&vec![1; size]),
            latency: vec![Ewma::default(); size],
            penalty: vec![Penalty::default(); size],
            ends: Vec::new(),
            served: vec![0; size],
            now_ms: 1000,
            rng: SmallRng::seed_from_u64(seed),
            kind: kind.clone(),
        }
    }

    /// Runs for so long with so many requests a millisecond; gives how many each endpoint was sent.
    fn run(&mut self, seconds: u64, each_ms: u32) -> Vec<u32> {
        let mut balancer = self.pool.balancer(&self.kind, &mut self.rng);
        self.served.fill(0);
        for _ in 0..seconds * 1000 {
            self.now_ms += 1;
            self.finish();
            for at in 0..self.pool.loads.len() {
                self.pool.latency_us[at] = self.latency[at].latency_us(self.now_ms);
                self.pool.penalties[at] = self.penalty[at].in_requests(self.now_ms);
            }
            for _ in 0..each_ms {
                let at = balancer.pick(&self.pool, &mut self.rng).unwrap();
                let Origin { takes_ms, fails } = self.origins[at];
                self.pool.loads[at] += 1;
                self.served[at] += 1;
                self.ends
                    .push((self.now_ms + takes_ms, at, takes_ms, fails));
            }
        }
        self.served.clone()
    }

    fn finish(&mut self) {
        let now_ms = self.now_ms;
        let (over, open) = self.ends.drain(..).partition(|end| end.0 <= now_ms);
        self.ends = open;
        for (_, at, takes_ms, failed) in Vec::from_iter::<Vec<_>>(over) {
            self.pool.loads[at] -= 1;
            self.penalty[at] = self.penalty[at].after(failed, now_ms);
            if !failed {
                self.latency[at] = self.latency[at].after(Duration::from_millis(takes_ms), now_ms);
            }
        }
    }
}

const BY_FEEDBACK: [model::Balancer; 2] =
    [model::Balancer::LeastRequest, model::Balancer::PeakEwma];

#[test]
fn an_endpoint_that_fails_fast_gets_less_than_the_others_and_recovers_its_share() {
    // semantics 11
    for kind in &BY_FEEDBACK {
        for seed in 0..5 {
            let mut fleet = Fleet::new(kind, 5, seed);
            fleet.run(2, 2);
            fleet.origins[2] = Origin {
                takes_ms: 1,
                fails: true,
            };
            fleet.run(2, 2);
            let served = fleet.run(10, 2);
            // Of 20,000 requests a fair share is 4000; each probe of it is one that fails.
            assert!(served[2] < 400, "{kind:?} seed {seed}: {served:?}");
            assert!(served[2] > 0, "it is asked now and then");
            fleet.origins[2] = STEADY;
            fleet.run(5, 2);
            let served = fleet.run(10, 2);
            assert!(
                served.iter().all(|n| (3000..5000).contains(n)),
                "{kind:?} seed {seed}: {served:?}"
            );
            assert_eq!(fleet.penalty[2].to_bits(), 0);
        }
    }
}

#[test]
fn without_a_penalty_it_would_attract_load() {
    // That the test above tests something: what only goes by load sends most requests to the one that fails.
    let mut fleet = Fleet::new(&model::Balancer::LeastRequest, 5, 1);
    fleet.origins[2] = Origin {
        takes_ms: 1,
        fails: false,
    };
    fleet.run(2, 2);
    let served = fleet.run(10, 2);
    assert!(served[2] > 6000, "{served:?}");
}

#[test]
fn when_all_fail_all_are_asked_alike() {
    for kind in &BY_FEEDBACK {
        let mut fleet = Fleet::new(kind, 4, 9);
        fleet.origins.fill(Origin {
            takes_ms: 1,
            fails: true,
        });
        fleet.run(2, 2);
        let served = fleet.run(10, 2);
        assert!(
            served.iter().all(|n| (3000..7000).contains(n)),
            "{kind:?}: {served:?}"
        );
    }
}

#[test]
fn peak_ewma_leaves_a_slow_endpoint_sooner_than_its_queue_tells() {
    let slow = |kind: &model::Balancer| {
        let mut fleet = Fleet::new(kind, 4, 3);
        fleet.run(2, 2);
        fleet.origins[0].takes_ms = 200;
        fleet.run(2, 2);
        fleet.run(10, 2)[0]
    };
    let (by_load, by_latency) = (
        slow(&model::Balancer::LeastRequest),
        slow(&model::Balancer::PeakEwma),
    );
    assert!(
        by_latency > 0 && by_latency * 2 < by_load,
        "{by_latency} and {by_load} of 20000"
    );
}

#[test]
fn peak_ewma_uses_endpoints_of_one_speed_alike() {
    for seed in 0..5 {
        let mut fleet = Fleet::new(&model::Balancer::PeakEwma, 6, seed);
        fleet.run(1, 2);
        let served = fleet.run(10, 2);
        assert!(
            served.iter().all(|n| (3000..3700).contains(n)),
            "seed {seed}: {served:?}"
        );
    }
}

#[test]
fn a_new_endpoint_is_asked_soon_but_by_one_request_until_it_answers() {
    let mut fleet = Fleet::new(&model::Balancer::PeakEwma, 10, 4);
    fleet.pool.out[7] = true;
    fleet.run(1, 2);
    fleet.pool.out[7] = false;
    fleet.origins[7].takes_ms = 60_000;
    fleet.run(1, 2);
    assert_eq!(fleet.pool.loads[7], 1, "it has not answered yet");
    fleet.run(10, 2);
    assert_eq!(fleet.pool.loads[7], 1);
    // The same for one that was slow and is asked again when its estimate has gone stale.
    let mut fleet = Fleet::new(&model::Balancer::PeakEwma, 10, 4);
    fleet.run(1, 2);
    fleet.latency[7] = Ewma::default().after(Duration::from_secs(50), fleet.now_ms);
    fleet.origins[7].takes_ms = 60_000;
    fleet.run(25, 2);
    assert_eq!(fleet.pool.loads[7], 0, "it is avoided");
    fleet.run(10, 2);
    assert_eq!(fleet.pool.loads[7], 1, "and tried again");
}

#[test]
fn peak_ewma_fills_by_weight() {
    let mut pool = Pool::new(&[10, 30]);
    pool.latency_us = vec![Some(5000.0); 2];
    let mut rng = SmallRng::seed_from_u64(2);
    let mut balancer = pool.balancer(&model::Balancer::PeakEwma, &mut rng);
    for _ in 0..400 {
        let at = balancer.pick(&pool, &mut rng).unwrap();
        pool.loads[at] += 1;
    }
    assert!((95..=105).contains(&pool.loads[0]), "{:?}", pool.loads);
    pool.loads = vec![1, 1];
    pool.latency_us[1] = Some(50_000.0);
    assert_eq!(balancer.pick(&pool, &mut rng), Some(0));
}
