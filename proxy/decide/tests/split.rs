//! Shares, order and stickiness of a split.

use std::collections::HashSet;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use weir_config::model::Weight;
use weir_decide::split::{Split, SplitState, bucket};

fn split(tenths: &[u32]) -> Split {
    Split::new(
        &tenths
            .iter()
            .map(|&t| Weight::from_tenths(t).unwrap())
            .collect::<Vec<_>>(),
    )
}

fn start(split: &Split, seed: u64) -> SplitState {
    SplitState::new(split, &mut SmallRng::seed_from_u64(seed))
}

/// Counts over so many turns.
fn deal(state: &mut SplitState, entries: usize, turns: u64) -> Vec<u64> {
    let mut counts = vec![0; entries];
    for _ in 0..turns {
        counts[state.pick().unwrap()] += 1;
    }
    counts
}

#[test]
fn fifty_fifty_alternates_from_either_side() {
    // semantics 18
    let split = split(&[500, 500]);
    let mut firsts = HashSet::new();
    for seed in 0..50 {
        let mut state = start(&split, seed);
        let mut previous = state.pick();
        firsts.insert(previous);
        for _ in 0..100 {
            let next = state.pick();
            assert_ne!(next, previous, "seed {seed}");
            previous = next;
        }
    }
    assert_eq!(firsts.len(), 2, "every start begins with the same entry");
}

#[test]
fn weight_zero_is_never_picked_and_all_zero_picks_nobody() {
    // semantics 18
    for seed in 0..50 {
        let mut state = start(&split(&[0, 30, 0, 70]), seed);
        assert_eq!(deal(&mut state, 4, 1000), [0, 300, 0, 700]);
    }
    for weights in [&[][..], &[0], &[0, 0]] {
        assert_eq!(start(&split(weights), 1).pick(), None);
        assert_eq!(split(weights).by_bucket(u64::MAX / 3), None);
    }
    assert_eq!(start(&split(&[0, 7]), 1).pick(), Some(1));
    for point in [0, 1, u64::MAX] {
        assert_eq!(split(&[0, 7]).by_bucket(point), Some(1));
        assert_eq!(split(&[7, 0]).by_bucket(point), Some(0));
        assert_ne!(split(&[0, 7, 5]).by_bucket(point), Some(0));
    }
}

#[test]
fn a_tenth_of_a_percent_is_exact() {
    // semantics 18
    for seed in 0..50 {
        let mut state = start(&split(&[1, 999]), seed);
        assert_eq!(deal(&mut state, 2, 10_000), [10, 9990], "seed {seed}");
    }
}

#[test]
fn each_pick_has_the_right_odds_however_often_the_state_is_thrown_away() {
    // The third pick of many fresh states: without a random start the canary would never be it.
    for weights in [&[50, 950][..], &[1_234_567, 7_654_321, 1_111_111]] {
        let split = split(weights);
        let mut rng = SmallRng::seed_from_u64(3);
        let fresh = 20_000;
        for turn in [1, 3] {
            let mut counts = vec![0.0; weights.len()];
            for _ in 0..fresh {
                let mut state = SplitState::new(&split, &mut rng);
                let picked = (0..turn).map(|_| state.pick().unwrap()).last().unwrap();
                counts[picked] += 1.0;
            }
            for (at, count) in counts.iter().enumerate() {
                let share = split.share(at);
                let expected = share * f64::from(fresh);
                let deviation = (expected * (1.0 - share)).sqrt();
                let off: f64 = count - expected;
                assert!(
                    off.abs() < 4.5 * deviation,
                    "{weights:?} entry {at} turn {turn}: {count}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn equal_weights_carry_their_place_and_others_start_anew() {
    let split_a = split(&[100, 200, 300]);
    let mut rng = SmallRng::seed_from_u64(1);
    let mut old = SplitState::new(&split_a, &mut rng);
    deal(&mut old, 3, 4);
    assert_eq!(SplitState::carry(&split_a.clone(), &old, &mut rng), old);
    let other = SplitState::carry(&split(&[100, 200]), &old, &mut rng);
    assert_eq!(deal(&mut other.clone(), 2, 30), [10, 20]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn over_a_full_cycle_each_share_is_within_one_of_exact(
        weights in prop::collection::vec(0u32..60, 1..6),
        seed: u64,
    ) {
        // semantics 18
        let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        prop_assume!(total > 0);
        let split = split(&weights);
        let mut state = start(&split, seed);
        for cycle in 0..3 {
            let counts = deal(&mut state, weights.len(), total);
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert!(count.abs_diff(u64::from(*weight)) <= 1, "cycle {cycle}: {counts:?} for {weights:?}");
            }
        }
    }

    #[test]
    fn at_no_moment_is_a_share_far_from_exact(
        weights in prop::collection::vec(0u32..10_000_000, 2..6),
        seed: u64,
    ) {
        // semantics 18: no drift, whatever the weights and the start
        let split = split(&weights);
        prop_assume!(weights.iter().any(|&w| w > 0));
        let mut state = start(&split, seed);
        let mut counts = vec![0.0; weights.len()];
        for turn in 1..3000 {
            counts[state.pick().unwrap()] += 1.0;
            for (at, count) in counts.iter().enumerate() {
                let off: f64 = count - split.share(at) * f64::from(turn);
                prop_assert!(off.abs() < 2.5, "turn {turn}, entry {at}: off by {off} for {weights:?}");
            }
        }
    }

    #[test]
    fn raising_a_canary_moves_nobody_away_from_it_and_lowering_nobody_else(
        low in 0u32..=1000, high in 0u32..=1000, key: u64,
    ) {
        // semantics 20
        let (low, high) = (low.min(high), low.max(high));
        let point = bucket(&key.to_be_bytes(), "shop");
        for canary in [0, 1] {
            let with = |weight: u32| {
                let mut weights = [1000 - weight; 2];
                weights[canary] = weight;
                split(&weights).by_bucket(point).unwrap()
            };
            if with(low) == canary {
                prop_assert_eq!(with(high), canary);
            }
        }
    }

    #[test]
    fn with_three_versions_a_change_moves_clients_between_that_version_and_the_base_only(
        first in 0u32..=500, second in 0u32..=500, changed in 0u32..=500, which in 0usize..2, key: u64,
    ) {
        // semantics 20
        let mut weights = [first, second, 1000 - first - second];
        let before = split(&weights);
        weights[which] = changed;
        weights[2] = 1000 - weights[0] - weights[1];
        let after = split(&weights);
        let point = bucket(&key.to_be_bytes(), "shop");
        let (from, to) = (before.by_bucket(point).unwrap(), after.by_bucket(point).unwrap());
        if from != to {
            prop_assert!((from, to) == (which, 2) || (from, to) == (2, which), "{from} -> {to}");
        }
    }
}

#[test]
fn the_sticky_share_is_the_weight() {
    // semantics 20: no drift; five standard deviations of the binomial
    let weights = [1, 49, 250, 100, 600];
    let split = split(&weights);
    let clients = 200_000;
    let mut counts = [0.0; 5];
    for client in 0..clients {
        counts[split
            .by_bucket(bucket(format!("client-{client}").as_bytes(), "shop"))
            .unwrap()] += 1.0;
    }
    for (count, weight) in counts.iter().zip(weights) {
        let share = f64::from(weight) / 1000.0;
        let expected = share * f64::from(clients);
        let off: f64 = count - expected;
        assert!(
            off.abs() < 5.0 * (expected * (1.0 - share)).sqrt(),
            "{count}, not {expected}"
        );
    }
}

#[test]
fn a_walk_up_and_down_the_weights_ends_where_it_began() {
    // semantics 20: clients move monotonically with the weight, and the way back is the way there
    let mut rng = SmallRng::seed_from_u64(11);
    let clients: Vec<u64> = (0..2000).map(|_| rng.random()).collect();
    let on_canary = |weight: u32| -> HashSet<u64> {
        let split = Split::with_base(
            &[1000 - weight, weight].map(|tenths| Weight::from_tenths(tenths).unwrap()),
            0,
        );
        clients
            .iter()
            .copied()
            .filter(|&client| split.by_bucket(client) == Some(1))
            .collect()
    };
    let steps = [0, 10, 50, 250, 500, 750, 1000];
    for pair in steps.windows(2) {
        assert!(
            on_canary(pair[0]).is_subset(&on_canary(pair[1])),
            "{pair:?}"
        );
    }
    assert!(on_canary(0).is_empty());
    assert_eq!(on_canary(1000).len(), clients.len());
}

#[test]
fn the_same_client_is_elsewhere_under_another_salt() {
    let same = (0u32..1000)
        .filter(|n| bucket(&n.to_be_bytes(), "a") >> 63 == bucket(&n.to_be_bytes(), "b") >> 63);
    assert!((400..600).contains(&same.count()));
    assert_eq!(bucket(b"client", "shop"), bucket(b"client", "shop"));
}
