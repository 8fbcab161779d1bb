//! Priorities, places and panic, end to end: from endpoints to picks.

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_config::model::{self, Distribute, LoadBalancer, Locality, LocalityPolicy};
use weir_decide::balance::{Balance, Candidates, Grouped, Groups, Member};

use crate::pool::{Pool, RING, all, assert_shares, id};

fn groups(
    policy: &LoadBalancer,
    own: Option<&Locality>,
    pool: &Pool,
    endpoints: &[(u8, Option<Locality>)],
) -> Groups {
    let ids: Vec<String> = (0..pool.len()).map(id).collect();
    let members: Vec<Member<'_>> = endpoints
        .iter()
        .enumerate()
        .map(|(at, (priority, locality))| Member {
            id: &ids[at],
            weight: pool.weights[at],
            priority: *priority,
            locality: locality.as_ref(),
        })
        .collect();
    Groups::new(policy, own, &members)
}

fn by_priority(kind: &model::Balancer, pool: &Pool, priorities: &[u8]) -> Groups {
    let policy = LoadBalancer {
        balancer: kind.clone(),
        ..LoadBalancer::default()
    };
    let endpoints: Vec<_> = priorities
        .iter()
        .map(|&priority| (priority, None))
        .collect();
    groups(&policy, None, pool, &endpoints)
}

/// Counts over so many picks.
fn deal(kind: &model::Balancer, pool: &Pool, groups: &Groups, picks: usize) -> Vec<usize> {
    let mut rng = SmallRng::seed_from_u64(6);
    let mut grouped = Grouped::new(kind, groups, &mut rng);
    let levels = groups.levels(pool, 50);
    let mut counts = vec![0; pool.len()];
    for _ in 0..picks {
        pool.next_request(&mut rng);
        counts[grouped.pick(pool, groups, &levels, &mut rng).unwrap()] += 1;
    }
    counts
}

/// The sums of the first so many and of the rest.
fn parts(counts: &[usize], first: usize) -> [usize; 2] {
    [counts[..first].iter().sum(), counts[first..].iter().sum()]
}

#[test]
fn a_level_takes_what_the_one_before_cannot() {
    // semantics 7
    for kind in &all() {
        let mut pool = Pool::new(&[10; 200]);
        let priorities: Vec<u8> = (0..200).map(|at| at / 100 * 3).collect();
        let groups = by_priority(kind, &pool, &priorities);
        for (healthy, shares) in [
            (100, [100, 0]),
            (72, [100, 0]),
            (71, [99, 1]),
            (50, [70, 30]),
        ] {
            for at in 0..100 {
                pool.out[at] = at >= healthy;
            }
            let counts = deal(kind, &pool, &groups, 5000);
            assert_shares(
                &parts(&counts, 100),
                &shares,
                &format!("{kind:?} at {healthy}%"),
            );
        }
    }
}

#[test]
fn in_panic_the_ejected_serve_and_the_drained_do_not() {
    // semantics 6
    for kind in &all() {
        let mut pool = Pool::new(&[10; 10]);
        let groups = by_priority(kind, &pool, &[0; 10]);
        pool.drained[9] = true;
        for at in 0..4 {
            pool.out[at] = true;
        }
        let counts = deal(kind, &pool, &groups, 3000);
        assert_eq!(
            parts(&counts, 4)[0],
            0,
            "{kind:?}: five of nine are healthy"
        );
        pool.out[4] = true;
        let counts = deal(kind, &pool, &groups, 9000);
        assert_eq!(counts[9], 0, "{kind:?}");
        assert!(
            counts[..9].iter().all(|&n| n > 400),
            "{kind:?}: four of nine are, so all nine serve: {counts:?}"
        );
    }
}

#[test]
fn maintenance_of_most_is_no_panic() {
    for kind in &all() {
        let mut pool = Pool::new(&[10; 3]);
        let groups = by_priority(kind, &pool, &[0; 3]);
        (pool.drained[0], pool.drained[1]) = (true, true);
        assert!(!groups.levels(&pool, 50).any_panic());
        assert_eq!(deal(kind, &pool, &groups, 100), [0, 0, 100]);
    }
}

#[test]
fn with_panic_off_nobody_healthy_is_no_pick() {
    for kind in &all() {
        let mut pool = Pool::new(&[10; 4]);
        let groups = by_priority(kind, &pool, &[0, 0, 1, 1]);
        pool.out.fill(true);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut grouped = Grouped::new(kind, &groups, &mut rng);
        let levels = groups.levels(&pool, 0);
        assert_eq!(grouped.pick(&pool, &groups, &levels, &mut rng), None);
        let levels = groups.levels(&pool, 50);
        assert!(grouped.pick(&pool, &groups, &levels, &mut rng).is_some());
    }
}

#[test]
fn a_retry_goes_to_another_level_before_it_repeats() {
    // semantics 26
    for kind in &all() {
        let mut pool = Pool::new(&[10; 5]);
        let groups = by_priority(kind, &pool, &[0, 0, 1, 1, 2]);
        let levels = groups.levels(&pool, 50);
        let mut rng = SmallRng::seed_from_u64(2);
        let mut grouped = Grouped::new(kind, &groups, &mut rng);
        let mut order = Vec::new();
        for _ in 0..5 {
            let at = grouped.pick(&pool, &groups, &levels, &mut rng).unwrap();
            assert!(!pool.tried[at], "{kind:?}: {at} again after {order:?}");
            pool.tried[at] = true;
            order.push(groups.level(groups.of(at).unwrap()).unwrap());
        }
        assert_eq!(order, [0, 0, 1, 1, 2], "{kind:?}");
        let again = grouped.pick(&pool, &groups, &levels, &mut rng);
        assert!(again.is_some_and(|at| at < 2), "{kind:?}");
    }
}

#[test]
fn levels_that_are_a_moment_old_do_not_fail_a_request() {
    let mut pool = Pool::new(&[10; 4]);
    let kind = model::Balancer::LeastRequest;
    let groups = by_priority(&kind, &pool, &[0, 0, 1, 1]);
    let levels = groups.levels(&pool, 50);
    (pool.out[0], pool.out[1]) = (true, true);
    let mut rng = SmallRng::seed_from_u64(2);
    let mut grouped = Grouped::new(&kind, &groups, &mut rng);
    let picked = grouped.pick(&pool, &groups, &levels, &mut rng);
    assert!(picked.is_some_and(|at| at >= 2));
}

#[test]
fn one_group_is_served_as_without_groups() {
    for kind in &all() {
        let mut pool = Pool::new(&[10, 20, 30, 40]);
        pool.out[1] = true;
        let groups = by_priority(kind, &pool, &[4; 4]);
        let levels = groups.levels(&pool, 50);
        let (mut one, mut other) = (SmallRng::seed_from_u64(3), SmallRng::seed_from_u64(3));
        let mut grouped = Grouped::new(kind, &groups, &mut one);
        let mut plain = pool.balancer(kind, &mut other);
        for _ in 0..200 {
            pool.next_request(&mut one);
            pool.next_request(&mut other);
            assert_eq!(
                grouped.pick(&pool, &groups, &levels, &mut one),
                plain.pick(&pool, &mut other),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn a_distribution_is_met_and_leaves_out_what_it_does_not_list() {
    let place = |text| Locality::parse(text).unwrap();
    let policy = LoadBalancer {
        locality: Some(LocalityPolicy {
            distribute: vec![Distribute {
                from: place("eu/a"),
                to: vec![(place("eu/a"), 80), (place("eu/b"), 20), (place("us"), 0)],
            }],
            ..LocalityPolicy::default()
        }),
        ..LoadBalancer::default()
    };
    let endpoints = ["eu/a", "eu/b", "eu/b", "us/a", "ap/a"].map(|text| (0, Some(place(text))));
    let mut pool = Pool::new(&[10; 5]);
    let groups = groups(&policy, Some(&place("eu/a/1")), &pool, &endpoints);
    assert_eq!(groups.of(4), None);
    let kind = model::Balancer::LeastRequest;
    let counts = deal(&kind, &pool, &groups, 20_000);
    assert_shares(&counts, &[80, 10, 10, 0, 0], "by place");
    pool.out[0] = true;
    let counts = deal(&kind, &pool, &groups, 20_000);
    assert_shares(&counts, &[0, 1, 1, 0, 0], "one place is out");
    // Not even when all else was tried.
    pool.tried[..3].fill(true);
    assert_eq!(parts(&deal(&kind, &pool, &groups, 1000), 3)[1], 0);
}

#[test]
fn weights_hold_within_each_level_whatever_the_other_weighs() {
    let pool = Pool::new(&[10, 30, 60, 100_000, 300_000]);
    for kind in &crate::pool::BY_WEIGHT {
        let mut pool = pool.clone();
        let groups = by_priority(kind, &pool, &[0, 0, 0, 1, 1]);
        let counts = deal(kind, &pool, &groups, 20_000);
        assert_shares(&counts, &[1, 3, 6, 0, 0], &format!("{kind:?}"));
        pool.out[..3].fill(true);
        let counts = deal(kind, &pool, &groups, 20_000);
        assert_shares(&counts, &[0, 0, 0, 1, 3], &format!("{kind:?}"));
    }
}

#[test]
fn the_weights_of_one_level_do_not_slow_the_picks_of_another() {
    let light = (0..1000).map(|at| 10 + at % 3 * 10);
    let heavy = (0..1000).map(|at| 100_000 + at);
    let pool = Pool::new(&light.chain(heavy).collect::<Vec<_>>());
    let kind = model::Balancer::LeastRequest;
    let groups = by_priority(&kind, &pool, &[[0; 1000], [1; 1000]].concat());
    let levels = groups.levels(&pool, 50);
    let mut rng = SmallRng::seed_from_u64(4);
    let mut grouped = Grouped::new(&kind, &groups, &mut rng);
    pool.looks.set(0);
    for _ in 0..1000 {
        grouped.pick(&pool, &groups, &levels, &mut rng).unwrap();
    }
    let each = pool.looks.get() as f64 / 1000.0;
    assert!(each < 10.0, "{each} looks for each pick");
}

#[test]
fn a_key_has_its_endpoint_in_each_level() {
    let mut pool = Pool::new(&[10; 8]);
    let groups = by_priority(&RING, &pool, &[0, 0, 0, 0, 1, 1, 1, 1]);
    let mut rng = SmallRng::seed_from_u64(2);
    let mut grouped = Grouped::new(&RING, &groups, &mut rng);
    for _ in 0..100 {
        pool.next_request(&mut rng);
        let calm = groups.levels(&pool, 50);
        let home = grouped.pick(&pool, &groups, &calm, &mut rng);
        pool.out[..4].fill(true);
        let levels = groups.levels(&pool, 50);
        let away = grouped.pick(&pool, &groups, &levels, &mut rng);
        assert!(away.is_some_and(|at| at >= 4));
        assert_eq!(grouped.pick(&pool, &groups, &levels, &mut rng), away);
        pool.out.fill(false);
        assert_eq!(grouped.pick(&pool, &groups, &calm, &mut rng), home);
    }
}

#[test]
fn a_key_stays_in_the_level_that_took_it_over() {
    // semantics 7 and 21
    let mut pool = Pool::new(&[10; 20]);
    let groups = by_priority(&RING, &pool, &[[0; 10], [1; 10]].concat());
    pool.out[..5].fill(true);
    let levels = groups.levels(&pool, 50);
    let mut rng = SmallRng::seed_from_u64(4);
    let mut grouped = Grouped::new(&RING, &groups, &mut rng);
    let mut away = 0;
    for _ in 0..2000 {
        pool.next_request(&mut rng);
        let first = grouped.pick(&pool, &groups, &levels, &mut rng);
        for _ in 0..3 {
            assert_eq!(grouped.pick(&pool, &groups, &levels, &mut rng), first);
        }
        away += usize::from(first.is_some_and(|at| at >= 10));
    }
    assert_shares(&[2000 - away, away], &[70, 30], "half of the first are out");
}

#[test]
fn endpoints_of_weight_0_make_no_level_healthy() {
    let mut pool = Pool::new(&[10, 10, 0, 0, 10]);
    let kind = model::Balancer::LeastRequest;
    let groups = by_priority(&kind, &pool, &[0, 0, 0, 0, 1]);
    pool.out[0] = true;
    let counts = deal(&kind, &pool, &groups, 5000);
    assert_shares(&counts, &[0, 70, 0, 0, 30], "one of two that can be picked");
}

/// Whether a pick keeps the rules, on a fleet of any shape.
fn check_pick(pool: &Pool, groups: &Groups, panic_percent: u8, at: usize) -> Result<(), String> {
    let levels = groups.levels(pool, panic_percent);
    let group = groups.of(at).ok_or("picked from no group")?;
    let panic = levels.in_panic(group);
    if !(pool.available(at) || panic && pool.usable_in_panic(at)) {
        return Err("picked while out".into());
    }
    let mixed = pool.weights.iter().any(|weight| *weight != pool.weights[0]);
    if mixed && pool.weights[at] == 0 {
        return Err("picked with weight 0".into());
    }
    let untried = |other: &usize| {
        let usable = pool.available(*other)
            || groups.of(*other).is_some_and(|g| levels.in_panic(g))
                && pool.usable_in_panic(*other);
        usable && !pool.tried[*other] && (!mixed || pool.weights[*other] > 0)
    };
    if pool.tried[at] && (0..pool.len()).any(|other| untried(&other)) {
        return Err("repeated while another was left".into());
    }
    Ok(())
}

#[test]
fn over_random_fleets_no_pick_breaks_a_rule_and_none_is_missed() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let size = rng.random_range(1..30);
        let mixed = rng.random_bool(0.5);
        let weights: Vec<u32> = (0..size)
            .map(|_| if mixed { rng.random_range(0..50) } else { 10 })
            .collect();
        let mut pool = Pool::new(&weights);
        let priorities: Vec<u8> = (0..size).map(|_| rng.random_range(0..3)).collect();
        let panic_percent = [0, 50, 90][rng.random_range(0..3)];
        for kind in &all() {
            let groups = by_priority(kind, &pool, &priorities);
            let mut grouped = Grouped::new(kind, &groups, &mut rng);
            for _ in 0..40 {
                let chance = rng.random_range(0.0..1.0);
                for at in 0..size {
                    pool.out[at] = rng.random_bool(chance);
                    pool.drained[at] = rng.random_bool(0.1);
                    pool.tried[at] = rng.random_bool(0.2);
                    pool.loads[at] = rng.random_range(0..9);
                    pool.penalties[at] = [0, 0, 30][rng.random_range(0..3)];
                    pool.latency_us[at] = rng.random_bool(0.7).then_some(1000.0);
                }
                pool.next_request(&mut rng);
                let levels = groups.levels(&pool, panic_percent);
                let picked = grouped.pick(&pool, &groups, &levels, &mut rng);
                let outcome = match picked {
                    Some(at) => check_pick(&pool, &groups, panic_percent, at),
                    None if (0..size)
                        .any(|at| pool.available(at) && (!mixed || pool.weights[at] > 0)) =>
                    {
                        Err("nobody was picked".into())
                    }
                    None => Ok(()),
                };
                outcome.unwrap_or_else(|why| panic!("{kind:?} seed {seed}: {why}"));
            }
        }
    }
}
