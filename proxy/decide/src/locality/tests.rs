use std::sync::Arc;

use super::*;

fn place(text: &str) -> Locality {
    Locality::parse(text).unwrap()
}

fn failover(from: &str, to: &str) -> LocalityPolicy {
    LocalityPolicy {
        failover: vec![(Arc::from(from), Arc::from(to))],
        ..LocalityPolicy::default()
    }
}

/// Levels, weights and members for endpoints written as priority and place, `-` for none.
fn check(
    own: Option<&str>,
    policy: Option<&LocalityPolicy>,
    endpoints: &[(u8, &str)],
    expected: &[(usize, u32, &[usize])],
) {
    let own = own.map(place);
    let places: Vec<(u8, Option<Locality>)> = endpoints
        .iter()
        .map(|&(priority, text)| (priority, (text != "-").then(|| place(text))))
        .collect();
    let seen = layout(
        own.as_ref(),
        policy,
        places
            .iter()
            .map(|(priority, place)| (*priority, place.as_ref())),
    );
    let seen: Vec<_> = seen
        .iter()
        .map(|place| (place.level, place.weight, &place.members[..]))
        .collect();
    assert_eq!(seen, expected, "from {own:?}");
}

const EVERYWHERE: &[(u8, &str)] = &[
    (0, "eu/a/1"),
    (0, "eu/a/2"),
    (0, "eu/b/1"),
    (0, "us/a/1"),
    (0, "ap/a/1"),
    (0, "-"),
    (0, "eu/a/1"),
];

#[test]
fn without_a_policy_or_a_place_of_its_own_only_priority_counts() {
    let all: &[usize] = &[0, 1, 2, 3, 4, 5, 6];
    check(Some("eu/a/1"), None, EVERYWHERE, &[(0, 1, all)]);
    let nearest = LocalityPolicy::default();
    check(None, Some(&nearest), EVERYWHERE, &[(0, 1, all)]);
    check(
        None,
        None,
        &[(7, "-"), (2, "-"), (7, "eu")],
        &[(0, 1, &[1]), (1, 1, &[0, 2])],
    );
    check(None, None, &[], &[]);
}

#[test]
fn the_nearest_are_asked_first_and_levels_have_no_gaps() {
    let nearest = LocalityPolicy::default();
    check(
        Some("eu/a/1"),
        Some(&nearest),
        EVERYWHERE,
        &[
            (0, 1, &[0, 6]),
            (1, 1, &[1]),
            (2, 1, &[2]),
            (3, 1, &[3, 4, 5]),
        ],
    );
    check(
        Some("ap/z/1"),
        Some(&nearest),
        EVERYWHERE,
        &[(0, 1, &[4]), (1, 1, &[0, 1, 2, 3, 5, 6])],
    );
}

#[test]
fn the_region_to_fail_over_to_comes_before_all_others() {
    check(
        Some("eu/a/1"),
        Some(&failover("eu", "us")),
        EVERYWHERE,
        &[
            (0, 1, &[0, 6]),
            (1, 1, &[1]),
            (2, 1, &[2]),
            (3, 1, &[3]),
            (4, 1, &[4, 5]),
        ],
    );
    // It is another region's.
    check(
        Some("ap/a/1"),
        Some(&failover("eu", "us")),
        EVERYWHERE,
        &[(0, 1, &[4]), (1, 1, &[0, 1, 2, 3, 5, 6])],
    );
}

#[test]
fn an_endpoints_own_priority_comes_before_its_distance() {
    check(
        Some("eu/a/1"),
        Some(&LocalityPolicy::default()),
        &[(1, "eu/a/1"), (0, "us/a/1"), (1, "us/a/1"), (0, "eu/b/1")],
        &[(0, 1, &[3]), (1, 1, &[1]), (2, 1, &[0]), (3, 1, &[2])],
    );
}

#[test]
fn a_distribution_gives_shares_to_places_and_nothing_to_the_rest() {
    let policy = LocalityPolicy {
        distribute: vec![
            Distribute {
                from: place("us"),
                to: vec![(place("us"), 100)],
            },
            Distribute {
                from: place("eu/a"),
                to: vec![(place("eu/a"), 80), (place("eu/b"), 15), (place("us"), 5)],
            },
        ],
        ..LocalityPolicy::default()
    };
    check(
        Some("eu/a/1"),
        Some(&policy),
        EVERYWHERE,
        &[(0, 80, &[0, 1, 6]), (0, 15, &[2]), (0, 5, &[3])],
    );
    check(
        Some("eu/a/1"),
        Some(&policy),
        &[(0, "eu/a/1"), (1, "eu/b/1"), (1, "us/a/1"), (0, "us/b/1")],
        &[(0, 80, &[0]), (0, 5, &[3]), (1, 15, &[1]), (1, 5, &[2])],
    );
    // It does not speak of this place.
    let all: &[usize] = &[0, 1, 2, 3, 4, 5, 6];
    check(Some("eu/b/1"), Some(&policy), EVERYWHERE, &[(0, 1, all)]);
}

#[test]
fn an_endpoint_of_no_known_place_has_part_in_a_share_of_anywhere() {
    let policy = LocalityPolicy {
        distribute: vec![Distribute {
            from: place("*"),
            to: vec![(place("eu"), 70), (place("*"), 30)],
        }],
        ..LocalityPolicy::default()
    };
    check(
        Some("eu/a/1"),
        Some(&policy),
        &[(0, "-"), (0, "eu/a/1"), (0, "us/a/1")],
        &[(0, 70, &[1]), (0, 30, &[0, 2])],
    );
}
