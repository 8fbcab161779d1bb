use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

/// Members are numbers from 0.
fn detector(policy: OutlierDetection, members: u32) -> Detector<u32> {
    let mut detector = Detector::new(policy);
    assert_eq!(detector.set_members(0..members, secs(0)), None);
    detector
}

fn configured() -> OutlierDetection {
    OutlierDetection::configured()
}

fn streak(detector: &mut Detector<u32>, key: u32, now: u64) -> Verdict {
    detector.on_streak(&key, Streak::FiveXx, secs(now), &mut rng())
}

fn tick(detector: &mut Detector<u32>, now: u64) -> Vec<Change<u32>> {
    detector.on_interval(|_| Window::default(), secs(now), &mut rng())
}

fn returned(key: u32, end: End) -> Change<u32> {
    Change::Returned { key, end }
}

#[test]
fn the_last_one_is_never_ejected() {
    let all = OutlierDetection {
        max_ejection_percent: Some(100),
        ..configured()
    };
    let mut detector = detector(all, 3);
    assert!(streak(&mut detector, 0, 1).is_enforced());
    assert!(streak(&mut detector, 2, 1).is_enforced());
    let why = Refusal::LastOne;
    assert_eq!(streak(&mut detector, 1, 1), Verdict::Refused { why });
    let refused = detector.explain(&1).and_then(|standing| standing.refused);
    assert_eq!(refused.map(|refused| refused.why), Some(why));
}

#[test]
fn the_last_one_is_the_last_that_serves() {
    let all = OutlierDetection {
        max_ejection_percent: Some(100),
        ..configured()
    };
    let mut detector = detector(all, 3);
    assert_eq!(detector.on_active_check(&0, Check::Failing, secs(1)), None);
    assert_eq!(detector.on_active_check(&1, Check::Failing, secs(1)), None);
    let why = Refusal::LastOne;
    assert_eq!(streak(&mut detector, 2, 2), Verdict::Refused { why });
    assert_eq!(
        detector.on_active_check(&1, Check::Passing(Proof::Answers), secs(3)),
        None
    );
    assert!(streak(&mut detector, 2, 4).is_enforced());
}

#[test]
fn where_nobody_is_left_to_serve_the_ejected_one_due_first_comes_back() {
    let mut detector = detector(
        OutlierDetection {
            max_ejection_percent: Some(100),
            ..configured()
        },
        4,
    );
    streak(&mut detector, 1, 20);
    streak(&mut detector, 0, 10);
    streak(&mut detector, 2, 5);
    // 2 would be the first, and a check keeps it out anyway.
    assert_eq!(detector.on_active_check(&2, Check::Failing, secs(21)), None);
    let back = detector.on_active_check(&3, Check::Failing, secs(22));
    assert_eq!(back, Some(returned(0, End::Needed)));
    assert_eq!(
        detector.set_members([1, 2, 3], secs(23)),
        Some(returned(1, End::Needed))
    );
    // Only such as a check keeps out are left, and bringing one back would help nobody.
    assert_eq!(detector.set_members([2, 3], secs(24)), None);
    assert_eq!(detector.ejected(), 1);
}

#[test]
fn a_replacement_in_the_same_change_calls_nobody_back() {
    let mut detector = detector(configured(), 2);
    streak(&mut detector, 0, 1);
    assert_eq!(detector.set_members([0, 7], secs(2)), None);
    assert!(detector.is_ejected(&0));
}

#[test]
fn ejection_in_a_row_multiplies_the_time_and_healthy_intervals_forgive() {
    // semantics 1
    let mut detector = detector(configured(), 4);
    let mut now = 0;
    for k in 1..=3 {
        let Verdict::Ejected { until, times } = streak(&mut detector, 0, now) else {
            panic!("ejection {k} was refused");
        };
        assert_eq!(times, k);
        let time = until - secs(now);
        let base = secs(30) * k;
        assert!(time >= base && time <= base + base / 10, "{k}: {time:?}");
        now += 30 * u64::from(k) + 20;
        assert_eq!(tick(&mut detector, now), [returned(0, End::Expired)]);
    }
    let times = |detector: &Detector<u32>| detector.explain(&0).map(|standing| standing.times);
    // The interval it returned in was not healthy all the time.
    assert_eq!(times(&detector), Some(3));
    tick(&mut detector, now + 9);
    assert_eq!(times(&detector), Some(3));
    for left in [2, 1, 0, 0] {
        now += 10;
        tick(&mut detector, now);
        assert_eq!(times(&detector), Some(left));
    }
    assert_eq!(
        detector.explain(&0).map(|standing| standing.ejections),
        Some(3)
    );
}

#[test]
fn an_ejected_endpoint_stays_out_until_its_time_is_over_and_is_not_ejected_twice() {
    let mut detector = detector(configured(), 4);
    let Verdict::Ejected { until, .. } = streak(&mut detector, 0, 0) else {
        panic!("the first outlier of four is ejected");
    };
    let why = Refusal::AlreadyEjected;
    assert_eq!(streak(&mut detector, 0, 5), Verdict::Refused { why });
    assert_eq!(tick(&mut detector, 29), []);
    let just_before = until - Duration::from_nanos(1);
    assert_eq!(
        detector.on_interval(|_| Window::default(), just_before, &mut rng()),
        []
    );
    assert_eq!(
        detector.on_interval(|_| Window::default(), until, &mut rng()),
        [returned(0, End::Expired)]
    );
    let standing = detector.explain(&0).expect("a member");
    assert_eq!((standing.refused, standing.ejections), (None, 1));
}

#[test]
fn a_policy_that_observes_says_what_one_that_acts_would_do() {
    let observe = OutlierDetection {
        observe_only: true,
        ..configured()
    };
    let mut two = detector(observe.clone(), 2);
    let why = Refusal::ObserveOnly;
    assert_eq!(streak(&mut two, 0, 0), Verdict::Refused { why });
    assert_eq!(two.ejected(), 0);
    let mut one = detector(observe, 1);
    let why = Refusal::LastOne;
    assert_eq!(streak(&mut one, 0, 0), Verdict::Refused { why });
}

#[test]
fn an_active_pass_ends_an_ejection_of_what_is_not_failing_actively() {
    // semantics 8
    let mut detector = detector(configured(), 4);
    streak(&mut detector, 0, 0);
    assert_eq!(detector.on_active_check(&0, Check::Failing, secs(1)), None);
    assert!(detector.is_ejected(&0));
    // Up again by its own thresholds.
    assert_eq!(
        detector.on_active_check(&0, Check::Passing(Proof::Answers), secs(2)),
        Some(returned(0, End::ActivePass))
    );
    assert_eq!(
        detector.on_active_check(&0, Check::Passing(Proof::Answers), secs(3)),
        None
    );
    assert_eq!(
        detector.on_active_check(&9, Check::Passing(Proof::Answers), secs(3)),
        None
    );
}

fn unreachable(detector: &mut Detector<u32>, key: u32, since: u64, now: u64) -> Verdict {
    detector.on_unreachable(&key, 3, secs(since), secs(now), &mut rng())
}

#[test]
fn a_bare_connect_ends_only_the_ejection_of_one_that_accepted_none() {
    // semantics 8: ours.
    let accepts = Check::Passing(Proof::Accepts);
    let mut detector = detector(configured(), 4);
    streak(&mut detector, 0, 0);
    assert_eq!(detector.on_active_check(&0, accepts, secs(1)), None);
    assert!(detector.is_ejected(&0), "it accepted all the time");
    assert!(unreachable(&mut detector, 1, 2, 2).is_enforced());
    assert_eq!(
        detector.on_active_check(&1, accepts, secs(3)),
        Some(returned(1, End::Accepts))
    );
    assert_eq!(detector.on_active_check(&1, accepts, secs(4)), None);
}

#[test]
fn a_check_ends_no_ejection_where_the_policy_says_so_but_that_of_one_that_accepted_none() {
    // semantics 8 (Envoy, successful_active_health_check_uneject_host)
    let answers = Check::Passing(Proof::Answers);
    let policy = OutlierDetection {
        check_ends_ejection: false,
        ..configured()
    };
    let mut detector = detector(policy, 4);
    streak(&mut detector, 0, 0);
    assert_eq!(detector.on_active_check(&0, answers, secs(1)), None);
    assert_eq!(tick(&mut detector, 40), [returned(0, End::Expired)]);
    assert!(unreachable(&mut detector, 1, 41, 41).is_enforced());
    assert_eq!(
        detector.on_active_check(&1, answers, secs(42)),
        Some(returned(1, End::Accepts))
    );
}

#[test]
fn one_that_accepted_nothing_twice_in_a_row_sits_its_time_out() {
    // semantics 1
    let mut detector = detector(configured(), 4);
    assert!(unreachable(&mut detector, 0, 1, 1).is_enforced());
    let back = Some(returned(0, End::Accepts));
    assert_eq!(detector.on_accepting(&0, secs(2)), back);
    assert!(unreachable(&mut detector, 0, 3, 3).is_enforced());
    assert_eq!(detector.on_accepting(&0, secs(4)), None);
    assert_eq!(tick(&mut detector, 62), []);
    // 60 s, and up to 6 more.
    assert_eq!(tick(&mut detector, 70), [returned(0, End::Expired)]);
    // An interval in peace, and another: forgiven.
    assert!(tick(&mut detector, 80).is_empty() && tick(&mut detector, 90).is_empty());
    assert!(unreachable(&mut detector, 0, 91, 91).is_enforced());
    assert_eq!(
        detector.on_accepting(&0, secs(92)),
        Some(returned(0, End::Accepts))
    );
}

#[test]
fn a_streak_that_was_faster_than_the_looks_is_of_the_same_fault() {
    let mut detector = detector(configured(), 4);
    let why = Refusal::AlreadyEjected;
    streak(&mut detector, 0, 5);
    let until = detector
        .explain(&0)
        .and_then(|s| s.ejection)
        .and_then(|e| e.until);
    assert_eq!(
        unreachable(&mut detector, 0, 5, 6),
        Verdict::Refused { why }
    );
    let known = detector.explain(&0).and_then(|s| s.ejection).expect("out");
    assert_eq!(
        (known.cause, known.until),
        (Cause::Unreachable { looks: 3 }, until)
    );
    assert_eq!(
        detector.on_accepting(&0, secs(7)),
        Some(returned(0, End::Accepts))
    );
    // One from before the fault began is of another.
    streak(&mut detector, 1, 8);
    assert_eq!(
        unreachable(&mut detector, 1, 9, 10),
        Verdict::Refused { why }
    );
    assert_eq!(detector.on_accepting(&1, secs(11)), None);
    // Nor is one by hand.
    assert_eq!(detector.eject(&2, Manual::default(), secs(12)), Ok(None));
    assert_eq!(
        unreachable(&mut detector, 2, 12, 13),
        Verdict::Refused { why }
    );
    assert_eq!(detector.on_accepting(&2, secs(14)), None);
}

#[test]
fn one_whose_check_fails_does_not_return_for_accepting() {
    // semantics 8
    let mut detector = detector(configured(), 4);
    assert!(unreachable(&mut detector, 0, 1, 1).is_enforced());
    assert_eq!(detector.on_active_check(&0, Check::Failing, secs(2)), None);
    assert_eq!(detector.on_accepting(&0, secs(3)), None);
}

#[test]
fn a_check_that_is_gone_keeps_nobody_out_and_ends_no_ejection() {
    // semantics 14
    let mut detector = detector(configured(), 2);
    streak(&mut detector, 0, 0);
    assert_eq!(detector.on_active_check(&0, Check::Failing, secs(1)), None);
    detector.forget_active_check(&0);
    assert!(detector.is_ejected(&0));
    // It may serve again, so it is called back when the other one cannot.
    assert_eq!(
        detector.on_active_check(&1, Check::Failing, secs(2)),
        Some(returned(0, End::Needed))
    );
}

#[test]
fn a_manual_ejection_ends_by_hand_or_at_its_time_and_by_nothing_else() {
    let mut detector = detector(configured(), 3);
    assert_eq!(detector.eject(&0, Manual::default(), secs(1)), Ok(None));
    assert_eq!(
        detector.on_active_check(&0, Check::Passing(Proof::Answers), secs(2)),
        None
    );
    assert_eq!(tick(&mut detector, 100_000), []);
    let back = Some(returned(0, End::Manual));
    assert_eq!(detector.uneject(&0, secs(100_001)), back);
    assert_eq!(detector.uneject(&0, secs(100_002)), None);
    let until = Manual {
        until: Some(secs(100_050)),
        force: false,
    };
    assert_eq!(detector.eject(&0, until, secs(100_003)), Ok(None));
    assert_eq!(tick(&mut detector, 100_049), []);
    assert_eq!(tick(&mut detector, 100_050), [returned(0, End::Expired)]);
    assert_eq!(detector.explain(&0).map(|standing| standing.times), Some(0));
}

#[test]
fn a_manual_ejection_passes_the_percentage_and_only_by_force_the_last_one() {
    let mut detector = detector(configured(), 3);
    assert!(streak(&mut detector, 0, 0).is_enforced());
    assert_eq!(detector.eject(&1, Manual::default(), secs(1)), Ok(None));
    assert_eq!(
        detector.eject(&2, Manual::default(), secs(2)),
        Err(Refusal::LastOne)
    );
    let force = Manual {
        until: None,
        force: true,
    };
    // What only the policy keeps out serves rather than nobody.
    assert_eq!(
        detector.eject(&2, force, secs(3)),
        Ok(Some(returned(0, End::Needed)))
    );
    assert_eq!(detector.eject(&0, force, secs(4)), Ok(None));
    assert_eq!(detector.ejected(), 3);
    assert_eq!(detector.eject(&9, force, secs(4)), Err(Refusal::Gone));
}

#[test]
fn an_ejection_by_the_policy_becomes_one_by_hand() {
    let mut detector = detector(configured(), 2);
    streak(&mut detector, 0, 5);
    assert_eq!(detector.eject(&0, Manual::default(), secs(6)), Ok(None));
    let ejection = detector.explain(&0).and_then(|standing| standing.ejection);
    assert_eq!(
        ejection,
        Some(Ejection {
            cause: Cause::Manual,
            since: secs(5),
            until: None
        })
    );
    // It stays out by hand when it is the only one left.
    assert_eq!(detector.set_members([0], secs(7)), None);
    assert!(detector.is_ejected(&0));
}

#[test]
fn a_change_of_members_or_policy_keeps_everything_of_those_that_stay() {
    // semantics 14
    let mut detector = detector(configured(), 12);
    streak(&mut detector, 3, 0);
    detector.on_active_check(&4, Check::Failing, secs(1));
    let (three, four) = (detector.explain(&3).cloned(), detector.explain(&4).cloned());
    assert_eq!(detector.set_members(2..30, secs(2)), None);
    detector.set_policy(OutlierDetection::default());
    assert_eq!(detector.explain(&3).cloned(), three);
    assert_eq!(detector.explain(&4).cloned(), four);
    assert_eq!(detector.members().count(), 28);
    assert_eq!(detector.ejected(), 1);
    assert_eq!(detector.explain(&0), None);
}

#[test]
fn what_left_leaves_nothing_behind() {
    let mut detector = detector(configured(), 4);
    streak(&mut detector, 0, 0);
    assert_eq!(detector.set_members(1..4, secs(1)), None);
    assert_eq!(detector.ejected(), 0);
    let why = Refusal::Gone;
    assert_eq!(streak(&mut detector, 0, 2), Verdict::Refused { why });
    // A key that comes back, named twice by mistake, is new and counts once.
    assert_eq!(detector.set_members([0, 1, 0], secs(3)), None);
    assert_eq!(detector.explain(&0), Some(&Standing::default()));
    assert_eq!(detector.allowed(), 1);
    assert_eq!(detector.members().count(), 2);
}

#[test]
fn each_window_is_asked_once_whether_its_endpoint_is_out_or_not() {
    let mut detector = detector(configured(), 4);
    streak(&mut detector, 2, 0);
    let mut asked = Vec::new();
    detector.on_interval(
        |&key| {
            asked.push(key);
            Window {
                total: 4,
                success: u64::from(key),
                unanswered: 0,
            }
        },
        secs(10),
        &mut rng(),
    );
    assert_eq!(asked, [0, 1, 2, 3]);
    let rates: Vec<_> = detector
        .members()
        .map(|(_, standing)| standing.window.rate())
        .collect();
    assert_eq!(rates, [Some(0.0), Some(25.0), Some(50.0), Some(75.0)]);
}
