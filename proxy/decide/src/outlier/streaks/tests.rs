use super::*;

/// Reads `.` success, `5` server error, `g` gateway, `l` no answer; the expected text has the streak that each
/// completed, or `-`.
fn check(policy: &OutlierDetection, outcomes: &str, expected: &str) {
    let mut streaks = Streaks::CLEAR;
    let told: String = outcomes
        .chars()
        .map(|outcome| {
            let (next, complete) = streaks.after(parse(outcome), policy);
            streaks = Streaks::from_bits(next.to_bits());
            match complete {
                None => '-',
                Some(Streak::FiveXx) => 'F',
                Some(Streak::Gateway) => 'G',
                Some(Streak::LocalOrigin) => 'L',
            }
        })
        .collect();
    assert_eq!(told, expected, "{outcomes}");
}

fn parse(outcome: char) -> Outcome {
    match outcome {
        '5' => Outcome::ServerError,
        'g' => Outcome::Gateway,
        'l' => Outcome::LocalOrigin,
        _ => Outcome::Success,
    }
}

fn policy(five_xx: u32, gateway: u32, local: Option<u32>) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: five_xx,
        consecutive_gateway: gateway,
        split_local_origin: local.is_some(),
        consecutive_local_origin: local.unwrap_or(5),
        ..OutlierDetection::configured()
    }
}

#[test]
fn a_500_between_two_503s_resets_gateway_and_not_5xx() {
    // semantics 3
    check(&policy(0, 2, None), "g5gg", "---G");
    check(&policy(3, 0, None), "g5g", "--F");
    check(&policy(4, 2, None), "g5g5", "---F");
}

#[test]
fn a_success_resets_every_streak() {
    // semantics 3
    check(&policy(3, 2, None), "g.g.5.gg", "-------G");
    check(&policy(3, 0, None), "55.555", "-----F");
    check(&policy(0, 0, Some(2)), "l.ll", "---L");
}

#[test]
fn a_complete_streak_starts_again_and_is_told_once_per_threshold() {
    check(&policy(2, 0, None), "555555", "-F-F-F");
    check(&policy(1, 0, None), "555", "FFF");
    // Both complete: the gateway streak is told, and the 5xx streak starts again as well.
    check(&policy(2, 2, None), "gg55", "-G-F");
}

#[test]
fn failures_to_answer_count_as_gateway_errors_unless_they_are_split_off() {
    check(&policy(3, 2, None), "llg", "-GF");
    check(&policy(3, 0, None), "l5l", "--F");
    check(&policy(2, 2, Some(3)), "llglg", "----G");
    check(&policy(2, 0, Some(3)), "5ll5", "---F");
    check(&policy(2, 2, Some(2)), "lll", "-L-");
}

#[test]
fn any_answer_shows_that_the_endpoint_was_reached() {
    check(&policy(0, 0, Some(2)), "l5lglll", "-----L-");
}

#[test]
fn what_is_off_is_not_counted() {
    let off = policy(0, 0, Some(0));
    for outcome in "5gl".chars().map(parse) {
        let (streaks, complete) = Streaks::CLEAR.after(outcome, &off);
        assert!(streaks.is_clear() && complete.is_none(), "{outcome:?}");
    }
    // One that is switched off under way leaves no old count for when it comes back.
    let on = policy(3, 0, None);
    let (two, _) = Streaks::CLEAR.after(Outcome::ServerError, &on);
    let (two, _) = two.after(Outcome::ServerError, &on);
    let (none, _) = two.after(Outcome::ServerError, &off);
    assert!(!two.is_clear() && none.is_clear());
}

#[test]
fn a_lowered_threshold_is_met_by_the_next_failure() {
    let mut streaks = Streaks::CLEAR;
    for _ in 0..10 {
        streaks = streaks.after(Outcome::ServerError, &policy(20, 0, None)).0;
    }
    let (after, complete) = streaks.after(Outcome::ServerError, &policy(5, 0, None));
    assert_eq!((after, complete), (Streaks::CLEAR, Some(Streak::FiveXx)));
}

#[test]
fn a_count_stops_at_its_bits_and_never_spills_into_its_neighbour() {
    let endless = policy(u32::MAX, u32::MAX, Some(u32::MAX));
    let mut streaks = Streaks::CLEAR;
    let mut told = Vec::new();
    for failure in 1..=MAX {
        let (next, complete) = streaks.after(Outcome::Gateway, &endless);
        streaks = next;
        told.extend(complete.map(|streak| (failure, streak)));
    }
    assert_eq!(told, [(MAX, Streak::Gateway)]);
    assert!(streaks.is_clear());
}

#[test]
fn statuses_are_told_apart_as_envoy_does() {
    for (status, outcome) in [
        (200, Outcome::Success),
        (404, Outcome::Success),
        (429, Outcome::Success),
        (499, Outcome::Success),
        (500, Outcome::ServerError),
        (501, Outcome::ServerError),
        (502, Outcome::Gateway),
        (503, Outcome::Gateway),
        (504, Outcome::Gateway),
        (505, Outcome::ServerError),
        (599, Outcome::ServerError),
        (600, Outcome::Success),
    ] {
        assert_eq!(Outcome::of_status(status), outcome, "{status}");
    }
}
