//! Who gets how much.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_config::model::{self, Warmup};
use weir_decide::balance::{Balance, Measure, factor, scaled};

use crate::pool::{BY_WEIGHT, MAGLEV, Pool, RING, all, assert_shares, deal};

#[test]
fn an_idle_pool_is_used_by_weight() {
    for seed in 0..20 {
        for kind in &BY_WEIGHT {
            for weights in [&[10, 10, 10, 10][..], &[10, 20, 70], &[10, 30, 0, 60]] {
                let counts = deal(kind, &Pool::new(weights), 20_000, seed);
                // Of two idle ones drawn by weight the first is taken, so those of two choices are
                // exact too.
                assert_shares(&counts, weights, &format!("{kind:?} seed {seed}"));
            }
        }
    }
}

#[test]
fn a_long_list_with_different_weights_is_used_by_weight() {
    let weights: Vec<u32> = (0..500).map(|n| 1 + n % 7).collect();
    for kind in &BY_WEIGHT {
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
    for kind in &BY_WEIGHT {
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
    for kind in &all() {
        for len in [0, 1, 2, 5, 100] {
            let mut pool = Pool::new(&vec![1; len]);
            pool.out.fill(true);
            let mut rng = SmallRng::seed_from_u64(1);
            assert_eq!(
                pool.balancer(kind, &mut rng).pick(&pool, &mut rng),
                None,
                "{kind:?} of {len}"
            );
        }
    }
}

#[test]
fn a_retry_goes_elsewhere_until_there_is_no_elsewhere() {
    // semantics 26
    for kind in &all() {
        for weights in [&[1, 1][..], &[3, 3, 3, 3, 3], &[1, 2, 3]] {
            for seed in 0..200 {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut pool = Pool::new(weights);
                let mut balancer = pool.balancer(kind, &mut rng);
                pool.next_request(&mut rng);
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
    for kind in &all() {
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(
            alone.balancer(kind, &mut rng).pick(&alone, &mut rng),
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
        let mut pool = Pool::new(&[1; 20]);
        let mut balancer = pool.balancer(&model::Balancer::LeastRequest, &mut rng);
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
    for kind in &all() {
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

#[test]
fn an_endpoint_in_slow_start_takes_its_part_whatever_balances() {
    // semantics 12 and 17
    let warmup = Warmup {
        duration: Duration::from_secs(60),
        minimum_percent: 10,
        aggression: 1.0,
    };
    for (seconds, part) in [(0, 10), (6, 10), (15, 25), (30, 50), (60, 100)] {
        let admitted = Duration::from_secs(1000);
        let now = admitted + Duration::from_secs(seconds);
        let weight = |admitted| scaled(10, factor(&warmup, admitted, Duration::ZERO, now));
        let weights = [0, 3, 0, 1000].map(|at| weight(Duration::from_secs(at)));
        for kind in &BY_WEIGHT {
            let counts = deal(kind, &Pool::new(&weights), 20_000, seconds);
            assert_shares(
                &counts,
                &[100, 100, 100, part],
                &format!("{kind:?} after {seconds} s"),
            );
        }
    }
}

#[test]
fn keys_are_served_by_weight_whatever_the_table() {
    for (kind, slack) in [(RING, 0.12), (MAGLEV, 0.05)] {
        let weights = [10, 20, 5, 40, 0, 25];
        let counts = deal(&kind, &Pool::new(&weights), 100_000, 3);
        for (count, weight) in counts.iter().zip(weights) {
            let fair = f64::from(weight) * 1000.0;
            let off = (*count as f64 - fair).abs();
            assert!(off <= slack * fair, "{kind:?}: {counts:?}");
        }
    }
}

#[test]
fn a_request_without_a_key_is_served_at_random() {
    for kind in [RING, MAGLEV] {
        let pool = Pool::new(&[10, 30]);
        let mut rng = SmallRng::seed_from_u64(8);
        let mut balancer = pool.balancer(&kind, &mut rng);
        let mut counts = vec![0; 2];
        for _ in 0..20_000 {
            counts[balancer.pick(&pool, &mut rng).unwrap()] += 1;
        }
        assert_shares(&counts, &[1, 3], "without a key");
    }
}

#[test]
fn a_key_stays_with_its_endpoint_and_comes_back_to_it() {
    // semantics 21
    for kind in [RING, MAGLEV] {
        let mut rng = SmallRng::seed_from_u64(11);
        let mut pool = Pool::new(&[10; 12]);
        let mut balancer = pool.balancer(&kind, &mut rng);
        for _ in 0..500 {
            pool.next_request(&mut rng);
            let home = balancer.pick(&pool, &mut rng).unwrap();
            pool.out[home] = true;
            let refuge = balancer.pick(&pool, &mut rng).unwrap();
            pool.out[(refuge + 1) % 12] = true;
            if (refuge + 1) % 12 != home {
                // Somebody else going out moves nothing.
                assert_eq!(balancer.pick(&pool, &mut rng), Some(refuge));
            }
            pool.out.fill(false);
            assert_eq!(balancer.pick(&pool, &mut rng), Some(home));
        }
    }
}

#[test]
fn scores_say_what_each_was_judged_by() {
    let mut pool = Pool::new(&[10, 20, 20, 20]);
    pool.loads = vec![3, 4, 0, 1];
    pool.penalties[1] = 2;
    pool.out[3] = true;
    pool.tried[2] = true;
    pool.latency_us = vec![Some(100.0), Some(50.0), None, Some(1.0)];
    let scores = |kind: &model::Balancer| {
        let balancer = pool.balancer(kind, &mut SmallRng::seed_from_u64(1));
        balancer.scores(&pool)
    };
    let measures = |kind| scores(kind).iter().map(|s| s.measure).collect::<Vec<_>>();
    assert_eq!(
        measures(&model::Balancer::LeastRequest),
        [
            Measure::Load(6.0),
            Measure::Load(6.0),
            Measure::Load(0.0),
            Measure::Out
        ]
    );
    assert_eq!(
        measures(&model::Balancer::PeakEwma),
        [
            Measure::CostUs(700.0),
            Measure::CostUs(350.0),
            Measure::Unmeasured { idle: true },
            Measure::Out
        ]
    );
    assert_eq!(
        measures(&model::Balancer::Random),
        [
            Measure::Share(0.2),
            Measure::Share(0.4),
            Measure::Share(0.4),
            Measure::Out
        ]
    );
    let first = scores(&model::Balancer::RoundRobin)[1];
    assert_eq!((first.weight, first.load, first.penalty), (20, 4, 2));
    assert!(first.available && !first.tried && scores(&RING)[2].tried);
}

#[test]
fn scores_of_a_key_are_its_order_of_preference() {
    for kind in [RING, MAGLEV] {
        let mut rng = SmallRng::seed_from_u64(5);
        let mut pool = Pool::new(&[10; 9]);
        let mut balancer = pool.balancer(&kind, &mut rng);
        pool.next_request(&mut rng);
        for turn in 0..9 {
            let at = balancer.pick(&pool, &mut rng).unwrap();
            assert_eq!(balancer.scores(&pool)[at].measure, Measure::Turn(turn));
            pool.out[at] = true;
        }
    }
}
