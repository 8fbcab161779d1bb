use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

/// One group a level, of 100 endpoints each, so many of them healthy.
fn percent(healthy: &[u32]) -> Vec<Count> {
    let count = |(level, &healthy)| Count {
        level,
        weight: 1,
        healthy,
        total: 100,
    };
    healthy.iter().enumerate().map(count).collect()
}

fn shares(levels: &Levels) -> Vec<u32> {
    let share = |group| (levels.share(group) * 100.0).round() as u32;
    (0..levels.groups.len()).map(share).collect()
}

fn check(healthy: &[u32], expected: &[u32], panics: &[bool]) {
    let levels = Levels::new(&percent(healthy), 50);
    assert_eq!(shares(&levels), expected, "{healthy:?}");
    let seen: Vec<bool> = (0..healthy.len())
        .map(|group| levels.in_panic(group))
        .collect();
    assert_eq!(seen, panics, "{healthy:?}");
}

#[test]
fn the_shares_of_two_levels_are_those_of_envoys_tables() {
    // semantics 7
    const CALM: &[bool] = &[false, false];
    check(&[100, 100], &[100, 0], CALM);
    check(&[72, 100], &[100, 0], CALM);
    check(&[71, 100], &[99, 1], CALM);
    check(&[50, 100], &[70, 30], CALM);
    check(&[25, 100], &[35, 65], CALM);
    check(&[0, 100], &[0, 100], CALM);
    check(&[72, 72], &[100, 0], CALM);
    check(&[71, 71], &[99, 1], CALM);
    check(&[50, 50], &[70, 30], CALM);
    check(&[50, 60], &[70, 30], CALM);
}

#[test]
fn the_shares_of_three_levels_are_those_of_envoys_tables() {
    const CALM: &[bool] = &[false; 3];
    check(&[100, 100, 100], &[100, 0, 0], CALM);
    check(&[72, 72, 100], &[100, 0, 0], CALM);
    check(&[71, 71, 100], &[99, 1, 0], CALM);
    check(&[50, 50, 100], &[70, 30, 0], CALM);
    check(&[25, 100, 100], &[35, 65, 0], CALM);
    check(&[25, 25, 100], &[35, 35, 30], CALM);
}

#[test]
fn too_little_health_is_scaled_up_and_panics_below_the_threshold() {
    // semantics 6
    check(&[25, 25], &[50, 50], &[true, true]);
    // The tables say 7 and 93: health 7 and 91 of 98 gives 7.14 and 92.86, cut to 7 and 92, and what is
    // left goes to the first level in Envoy's arithmetic as here.
    check(&[5, 65], &[8, 92], &[true, false]);
    // Health {20, 30} is {40, 60}.
    check(&[15, 22], &[50, 50], &[true, true]);
    let off = Levels::new(&percent(&[15, 22]), 0);
    assert_eq!(shares(&off), [42, 58], "21 and 30 of 51, one left");
}

#[test]
fn panic_of_a_single_level_begins_below_the_threshold() {
    // semantics 6
    for (healthy, panic_percent, panics) in [
        (100, 50, false),
        (50, 50, false),
        (49, 50, true),
        (0, 50, true),
        (0, 0, false),
        (0, 1, true),
        (60, 70, true),
        // Its health is 100 with the overprovisioning, so there is no panic whatever the threshold.
        (72, 80, false),
    ] {
        let levels = Levels::new(&percent(&[healthy]), panic_percent);
        assert_eq!(
            (levels.in_panic(0), levels.any_panic()),
            (panics, panics),
            "{healthy}% below {panic_percent}%"
        );
        assert_eq!(levels.share(0), 1.0);
    }
}

#[test]
fn when_every_level_panics_load_goes_by_the_number_of_endpoints() {
    let count = |level, healthy, total| Count {
        level,
        weight: 1,
        healthy,
        total,
    };
    let levels = Levels::new(&[count(0, 0, 30), count(1, 10, 60)], 50);
    // 33.3 and 66.7; the point left goes to the first.
    assert_eq!(shares(&levels), [34, 66]);
    // Without panic the first level answers for all, with 503.
    let levels = Levels::new(&[count(0, 0, 30), count(1, 0, 60)], 0);
    assert_eq!(shares(&levels), [100, 0]);
    let levels = Levels::new(&[count(0, 0, 0), count(1, 0, 60)], 50);
    assert_eq!(shares(&levels), [0, 100], "nobody is in the first level");
    assert_eq!(
        Levels::new(&[], 50).choose(&mut SmallRng::seed_from_u64(1)),
        None
    );
}

#[test]
fn groups_of_a_level_share_by_weight_and_health() {
    // Envoy, locality weighted load balancing: X of weight 1, Y of weight 2 and whole.
    for (healthy_x, expected) in [(100, 33), (70, 33), (50, 26), (25, 15), (0, 0)] {
        let count = |weight, healthy| Count {
            level: 0,
            weight,
            healthy,
            total: 100,
        };
        let levels = Levels::new(&[count(1, healthy_x), count(2, 100)], 50);
        assert_eq!(
            shares(&levels),
            [expected, 100 - expected],
            "{healthy_x}% of X"
        );
    }
}

#[test]
fn in_panic_groups_of_a_level_share_by_weight_alone() {
    let count = |weight, healthy, total| Count {
        level: 0,
        weight,
        healthy,
        total,
    };
    let levels = Levels::new(&[count(10, 1, 10), count(30, 0, 10), count(60, 0, 0)], 50);
    assert_eq!(shares(&levels), [25, 75, 0], "the last has nobody at all");
    assert!(levels.in_panic(0) && levels.in_panic(1));
}

#[test]
fn choices_meet_the_shares() {
    let levels = Levels::new(&percent(&[50, 10, 100]), 50);
    let mut rng = SmallRng::seed_from_u64(7);
    let mut counts = [0u32; 3];
    for _ in 0..100_000 {
        counts[levels.choose(&mut rng).unwrap()] += 1;
    }
    for (group, count) in counts.iter().enumerate() {
        let expected = levels.share(group) * 100_000.0;
        assert!(
            (f64::from(*count) - expected).abs() < 800.0,
            "{counts:?} for {:?}",
            shares(&levels)
        );
    }
}
