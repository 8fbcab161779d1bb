//! Outlier detection against tables whose numbers follow from Envoy's published rules (architecture overview, "Outlier
//! detection", and the reference of `OutlierDetection`), not from this code.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_config::model::{FailurePercentage, OutlierDetection, SuccessRate};
use weir_decide::outlier::{
    Cause, Change, Detector, Origin, Outcome, Refusal, Streak, Streaks, Verdict, Window,
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn detector(policy: OutlierDetection, members: usize) -> Detector<usize> {
    let mut detector = Detector::new(policy);
    detector.set_members(0..members, Duration::ZERO);
    detector
}

/// No streaks, and any number out.
fn rates_only() -> OutlierDetection {
    OutlierDetection {
        max_ejection_percent: Some(100),
        success_rate: None,
        ..OutlierDetection::configured()
    }
}

/// One interval in which endpoint `i` served `windows[i]` (total, success).
fn judge(policy: OutlierDetection, windows: &[(u64, u64)]) -> Vec<(usize, Cause, Verdict)> {
    let mut detector = detector(policy, windows.len());
    let window = |&at: &usize| Window {
        total: windows[at].0,
        success: windows[at].1,
        unanswered: 0,
    };
    let changes = detector.on_interval(window, secs(10), &mut SmallRng::seed_from_u64(1));
    changes
        .into_iter()
        .map(|change| match change {
            Change::Detected {
                key,
                cause,
                verdict,
            } => (key, cause, verdict),
            Change::Returned { .. } => panic!("nobody was out"),
        })
        .collect()
}

#[test]
fn success_rate_ejects_below_mean_less_1_9_deviations() {
    // semantics 5. Percent of 100 requests each; the threshold by hand; who lies below it.
    type Row = (&'static [u64], f64, Option<f64>, &'static [usize]);
    let table: [Row; 10] = [
        (&[50, 100, 100, 100, 100], 1.9, Some(52.0), &[0]),
        // Mean 88, variance 576.
        (&[100, 100, 40, 100, 100], 1.9, Some(42.4), &[2]),
        // Mean 88, variance 256: nobody is that far off.
        (&[60, 80, 100, 100, 100], 1.9, None, &[]),
        // Mean 90, variance 900.
        (
            &[0, 100, 100, 100, 100, 100, 100, 100, 100, 100],
            1.9,
            Some(33.0),
            &[0],
        ),
        // Mean 95, variance 235: the worse of two first.
        (
            &[
                60, 40, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100,
                100, 100, 100,
            ],
            1.9,
            Some(65.874),
            &[1, 0],
        ),
        // A factor of 3 asks for 30.
        (&[50, 100, 100, 100, 100], 3.0, None, &[]),
        (&[50, 100, 100, 100, 100], 1.0, Some(70.0), &[0]),
        // Below, not at: all alike have a deviation of 0.
        (&[100, 100, 100, 100, 100], 1.9, None, &[]),
        (&[0, 0, 0, 0, 0], 1.9, None, &[]),
        // Four are no five.
        (&[0, 100, 100, 100], 1.9, None, &[]),
    ];
    for (rates, stdev_factor, expected, out) in table {
        let policy = OutlierDetection {
            success_rate: Some(SuccessRate {
                stdev_factor,
                ..SuccessRate::default()
            }),
            ..rates_only()
        };
        let windows: Vec<_> = rates.iter().map(|&rate| (100, rate)).collect();
        let found = judge(policy, &windows);
        let keys: Vec<_> = found.iter().map(|&(key, ..)| key).collect();
        assert_eq!(keys, out, "{rates:?}");
        for (key, cause, verdict) in found {
            let Cause::SuccessRate {
                rate, threshold, ..
            } = cause
            else {
                panic!("{cause:?}");
            };
            assert!((rate - rates[key] as f64).abs() < 1e-9);
            assert!(
                expected.is_some_and(|expected| (threshold - expected).abs() < 0.001),
                "{rates:?}: {threshold}"
            );
            assert!(verdict.is_enforced(), "{rates:?}");
        }
    }
}

#[test]
fn success_rate_counts_only_endpoints_with_the_volume() {
    // semantics 5
    let policy = || OutlierDetection {
        success_rate: Some(SuccessRate::default()),
        ..rates_only()
    };
    let good = (100, 100);
    let judged = |windows: &[(u64, u64)]| -> Vec<usize> {
        judge(policy(), windows)
            .iter()
            .map(|found| found.0)
            .collect()
    };
    assert_eq!(judged(&[(99, 0), good, good, good, good]), [0; 0]);
    assert_eq!(judged(&[(100, 0), good, good, good, good]), [0]);
    // One with too few neither is judged nor weighs on the others.
    assert_eq!(judged(&[(100, 50), (99, 0), good, good, good, good]), [0]);
    assert_eq!(judged(&[(100, 50), (99, 99), good, good, good]), [0; 0]);
}

#[test]
fn the_already_ejected_are_left_out_of_the_rates() {
    // semantics 5: with the ejected one's rate among them there would be five.
    let policy = OutlierDetection {
        success_rate: Some(SuccessRate::default()),
        ..rates_only()
    };
    let mut detector = detector(policy, 5);
    let mut rng = SmallRng::seed_from_u64(1);
    assert!(
        detector
            .on_streak(&0, Streak::FiveXx, secs(1), &mut rng)
            .is_enforced()
    );
    let window = |&at: &usize| Window {
        total: 100,
        success: if at == 1 { 0 } else { 100 },
        unanswered: 0,
    };
    assert_eq!(detector.on_interval(window, secs(10), &mut rng), []);
}

#[test]
fn failure_percentage_ejects_at_its_threshold() {
    type Row = (u8, &'static [(u64, u64)], &'static [usize]);
    let table: [Row; 6] = [
        (
            85,
            &[(100, 15), (100, 100), (100, 100), (100, 100), (100, 100)],
            &[0],
        ),
        (
            85,
            &[(100, 16), (100, 100), (100, 100), (100, 100), (100, 100)],
            &[],
        ),
        // 50 requests make one count, 49 do not; four are no five.
        (85, &[(50, 0), (50, 50), (50, 50), (50, 50), (50, 50)], &[0]),
        (85, &[(49, 0), (50, 0), (50, 50), (50, 50), (50, 50)], &[]),
        // All may be over a number, the worst first; the last one stays in.
        (
            10,
            &[(50, 40), (50, 0), (50, 30), (50, 20), (50, 10)],
            &[1, 4, 3, 2, 0],
        ),
        (0, &[(0, 0), (0, 0), (0, 0), (0, 0), (0, 0)], &[]),
    ];
    for (threshold, windows, out) in table {
        let policy = OutlierDetection {
            failure_percentage: Some(FailurePercentage {
                threshold,
                ..FailurePercentage::default()
            }),
            ..rates_only()
        };
        let found = judge(policy, windows);
        let keys: Vec<_> = found.iter().map(|&(key, ..)| key).collect();
        assert_eq!(keys, out, "{windows:?}");
        if out.len() == windows.len() {
            let why = Refusal::LastOne;
            assert_eq!(
                found.last().map(|found| found.2),
                Some(Verdict::Refused { why })
            );
        }
    }
}

/// One interval with failures to answer split off: who is found to be an outlier, and by what.
fn judge_split(windows: &[(u64, u64, u64)]) -> Vec<(usize, &'static str, bool)> {
    let policy = OutlierDetection {
        split_local_origin: true,
        success_rate: Some(SuccessRate::default()),
        failure_percentage: Some(FailurePercentage::default()),
        ..rates_only()
    };
    let mut detector = detector(policy, windows.len());
    let window = |&at: &usize| Window {
        total: windows[at].0,
        success: windows[at].1,
        unanswered: windows[at].2,
    };
    let changes = detector.on_interval(window, secs(10), &mut SmallRng::seed_from_u64(1));
    let told = changes.into_iter().map(|change| match change {
        Change::Detected {
            key,
            cause,
            verdict,
        } => (key, cause.label(), verdict.is_enforced()),
        Change::Returned { .. } => panic!("nobody was out"),
    });
    told.collect()
}

#[test]
fn rates_of_local_origin_are_judged_apart_and_after_those_of_answers() {
    // Envoy, "Outlier detection": with split_external_local_origin_errors each endpoint has two success rates, of what it
    // answered and of whether it could be reached, each with the same volume, minimum of hosts and deviation; a request
    // that was answered, whatever with, is a success of the second. In the interval the first is processed before the
    // second, and what the first ejected is no part of the second.
    type Row = (
        &'static [(u64, u64, u64)],
        &'static [(usize, &'static str, bool)],
    );
    const WELL: (u64, u64, u64) = (100, 100, 0);
    let table: [Row; 8] = [
        // Half of its requests unanswered: 100 of 200, against 100 percent of the others: the threshold is 52.
        (
            &[(100, 100, 100), WELL, WELL, WELL, WELL],
            &[(0, "success_rate_local_origin", true)],
        ),
        // All of them: too few answers for a rate of answers, and 100 requests for the other.
        (
            &[(0, 0, 100), WELL, WELL, WELL, WELL],
            &[
                (0, "success_rate_local_origin", true),
                (0, "failure_percentage_local_origin", false),
            ],
        ),
        // 99 in all are too few.
        (&[(49, 49, 50), WELL, WELL, WELL, WELL], &[]),
        // What is answered with an error was reached.
        (
            &[(100, 20, 0), WELL, WELL, WELL, WELL],
            &[(0, "success_rate", true)],
        ),
        // One of each, and the second rate is of five that are left.
        (
            &[(100, 20, 0), (100, 100, 100), WELL, WELL, WELL, WELL],
            &[
                (0, "success_rate", true),
                (1, "success_rate_local_origin", true),
            ],
        ),
        // With four left there is no second rate.
        (
            &[(100, 20, 0), (100, 100, 100), WELL, WELL, WELL],
            &[(0, "success_rate", true)],
        ),
        // The same endpoint by both: the first ejects it, and the second no longer sees it.
        (
            &[(100, 20, 300), WELL, WELL, WELL, WELL, WELL],
            &[(0, "success_rate", true)],
        ),
        // As bad as all: nobody is an outlier of a rate.
        (
            &[
                (100, 100, 80),
                (100, 100, 80),
                (100, 100, 80),
                (100, 100, 80),
                (100, 100, 80),
            ],
            &[],
        ),
    ];
    for (windows, expected) in table {
        assert_eq!(judge_split(windows), expected, "{windows:?}");
    }
}

#[test]
fn success_rate_is_judged_before_failure_percentage() {
    let policy = OutlierDetection {
        success_rate: Some(SuccessRate::default()),
        failure_percentage: Some(FailurePercentage::default()),
        ..rates_only()
    };
    let good = (100, 100);
    let found = judge(policy, &[(100, 0), good, good, good, good]);
    let told: Vec<_> = found
        .iter()
        .map(|(_, cause, verdict)| (cause.label(), verdict.is_enforced()))
        .collect();
    assert_eq!(
        told,
        [("success_rate", true), ("failure_percentage", false)]
    );
}

#[test]
fn ejection_time_is_the_base_times_the_ejections_in_a_row_up_to_the_maximum() {
    // semantics 1. Base and maximum in seconds; the times of the first ejections; where their count stops.
    type Row = (u64, u64, &'static [u64], u32);
    let table: [Row; 4] = [
        (
            30,
            300,
            &[30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300],
            11,
        ),
        (30, 100, &[30, 60, 90, 100, 100, 100], 5),
        (30, 30, &[30, 30, 30], 2),
        (1, 3600, &[1, 2, 3, 4, 5, 6, 7, 8], 8),
    ];
    for (base, max, times, count) in table {
        let policy = OutlierDetection {
            base_ejection_time: secs(base),
            max_ejection_time: secs(max),
            ..rates_only()
        };
        let mut detector = detector(policy, 3);
        let mut rng = SmallRng::seed_from_u64(3);
        let mut now = Duration::ZERO;
        let mut last = 0;
        for &time in times {
            let verdict = detector.on_streak(&0, Streak::FiveXx, now, &mut rng);
            let Verdict::Ejected { until, times } = verdict else {
                panic!("{verdict:?}");
            };
            let lasts = until - now;
            let time = secs(time);
            assert!(
                lasts >= time && lasts <= time + time / 10,
                "{base}/{max}: {lasts:?}, not {time:?}"
            );
            last = times;
            now = until;
            let changes = detector.on_interval(|_| Window::default(), now, &mut rng);
            assert_eq!(changes.len(), 1, "it returns when its time is over");
        }
        assert_eq!(last, count, "{base}/{max}");
    }
}

#[test]
fn jitter_spreads_over_a_tenth_of_the_ejection() {
    // semantics 1: ours.
    let mut rng = SmallRng::seed_from_u64(5);
    let jitters: Vec<Duration> = (0..500)
        .map(|_| {
            let mut detector = detector(rates_only(), 2);
            match detector.on_streak(&0, Streak::FiveXx, Duration::ZERO, &mut rng) {
                Verdict::Ejected { until, .. } => until - secs(30),
                refused @ Verdict::Refused { .. } => panic!("{refused:?}"),
            }
        })
        .collect();
    let (least, most) = (jitters.iter().min(), jitters.iter().max());
    assert!(least < Some(&Duration::from_millis(100)), "{least:?}");
    assert!(
        most > Some(&Duration::from_millis(2900)) && most <= Some(&secs(3)),
        "{most:?}"
    );
}

#[test]
fn max_percent_is_tested_with_the_candidate_included() {
    // semantics 2. Endpoints, percent, whether one may always go; how many go when all fail.
    let table = [
        (3, Some(50), true, 1),
        (3, Some(50), false, 1),
        (3, Some(33), true, 1),
        (3, Some(33), false, 0),
        (3, Some(34), false, 1),
        (4, Some(50), false, 2),
        (10, Some(10), false, 1),
        (10, Some(9), false, 0),
        (10, Some(0), true, 1),
        (19, Some(10), true, 1),
        (20, Some(10), true, 2),
        (5, Some(100), true, 4),
        (1, Some(100), true, 0),
        (2, Some(0), true, 1),
        (2, Some(0), false, 0),
        (4, Some(255), false, 3),
        // Ours: no number means 50 below ten, and 10 from there.
        (9, None, true, 4),
        (9, None, false, 4),
        (10, None, true, 1),
        (40, None, true, 4),
        (2, None, false, 1),
        (0, None, true, 0),
    ];
    for (members, percent, always, expected) in table {
        let policy = OutlierDetection {
            max_ejection_percent: percent,
            always_eject_one: always,
            ..rates_only()
        };
        let mut detector = detector(policy, members);
        let mut rng = SmallRng::seed_from_u64(1);
        let (mut enforced, mut overflow) = (0, 0);
        for key in 0..members {
            match detector.on_streak(&key, Streak::FiveXx, secs(1), &mut rng) {
                Verdict::Ejected { .. } => enforced += 1,
                Verdict::Refused { why } => overflow += usize::from(why.is_overflow()),
            }
        }
        let row = (members, percent, always);
        assert_eq!(enforced, expected, "{row:?}");
        assert_eq!(detector.ejected(), expected, "{row:?}");
        assert_eq!(detector.allowed(), expected, "{row:?}");
        assert_eq!(
            enforced + overflow,
            members,
            "every one was detected: {row:?}"
        );
    }
}

#[test]
fn one_new_error_after_an_ejection_does_not_eject_again() {
    // semantics 4
    let policy = OutlierDetection::configured();
    let mut detector = detector(policy.clone(), 3);
    let mut rng = SmallRng::seed_from_u64(1);
    let mut streaks = Streaks::CLEAR;
    let mut ejections = 0;
    // Four of five while it is out (in flight, or in panic), and one more when it is back.
    for error in 0..10 {
        let (next, complete) = streaks.after(Outcome::ServerError, &policy);
        streaks = next;
        if let Some(streak) = complete {
            let verdict = detector.on_streak(&0, streak, secs(1), &mut rng);
            ejections += u32::from(verdict.is_enforced());
        }
        if error == 8 {
            let changes = detector.on_interval(|_| Window::default(), secs(40), &mut rng);
            assert!(matches!(changes[..], [Change::Returned { key: 0, .. }]));
            streaks = Streaks::CLEAR;
        }
    }
    assert_eq!((ejections, detector.ejected()), (1, 0));
}

#[test]
fn a_refusal_says_what_was_found_and_what_stood_against_it() {
    // semantics 2
    let policy = OutlierDetection {
        consecutive_gateway: 4,
        max_ejection_percent: Some(50),
        ..rates_only()
    };
    let mut detector = detector(policy, 3);
    let mut rng = SmallRng::seed_from_u64(1);
    for key in 0..2 {
        detector.on_streak(
            &key,
            Streak::Gateway,
            secs(u64::try_from(key).unwrap()),
            &mut rng,
        );
    }
    let refused = detector
        .explain(&1)
        .and_then(|standing| standing.refused)
        .unwrap();
    assert_eq!(refused.at, secs(1));
    assert_eq!(
        format!("{}: {}", refused.cause, refused.why),
        "4 gateway errors in a row: 1 ejected already, and maxEjectionPercent allows 1"
    );
    let ejection = detector
        .explain(&0)
        .and_then(|standing| standing.ejection)
        .unwrap();
    assert_eq!(
        (ejection.since, ejection.cause.label()),
        (secs(0), "consecutive_gateway")
    );
}

#[test]
fn a_cause_tells_its_numbers() {
    let causes = [
        (
            Cause::SuccessRate {
                of: Origin::External,
                rate: 50.0,
                mean: 90.0,
                threshold: 52.0,
                requests: 100,
            },
            "success rate 50.0% of 100 requests is below 52.0% (mean 90.0%)",
        ),
        (
            Cause::FailurePercentage {
                of: Origin::External,
                failed: 91.25,
                threshold: 85,
                requests: 80,
            },
            "91.2% of 80 requests failed, and 85% is the limit",
        ),
        (
            Cause::Streak {
                streak: Streak::LocalOrigin,
                failures: 5,
            },
            "5 failures to answer in a row",
        ),
        (
            Cause::SuccessRate {
                of: Origin::Local,
                rate: 50.0,
                mean: 90.0,
                threshold: 52.0,
                requests: 100,
            },
            "rate of answers 50.0% of 100 requests is below 52.0% (mean 90.0%)",
        ),
        (
            Cause::Unreachable { looks: 3 },
            "no connection: 3 looks in a row found nobody there",
        ),
    ];
    for (cause, text) in causes {
        assert_eq!(cause.to_string(), text);
    }
}
