//! Who is ejected after which request, and when they return.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::wait::eventually;

use super::pair::{Case, Pair, Proxy, outlier};

/// More than any endpoint needs to come to the end of its script.
const ROUNDS: usize = 60;
const ORIGINS: usize = 4;

/// What an origin says, in order; 200 from then on.
fn script(case: &str, origin: usize) -> &'static [u16] {
    const WELL: &[u16] = &[];
    match (case, origin) {
        ("streak", 0) => &[500, 500, 200, 500, 500, 500, 500],
        ("streak", 1) => &[200, 503, 500, 502],
        ("streak", 2) => &[500, 404, 500, 500, 200, 500, 500],
        ("gateway", 0) => &[503, 500, 503, 503, 502, 504],
        ("gateway", 1) => &[500, 500, 500, 500, 500, 500],
        ("gateway", 2) => &[502, 504, 503],
        ("percent" | "default", 0) => &[200, 500, 500, 500, 500],
        ("percent" | "default", 1) => &[500; 12],
        ("all", _) => &[500; 60],
        _ => WELL,
    }
}

fn status(case: &str, origin: usize, n: usize) -> u16 {
    match case {
        // Fails until the first three are told, then is well.
        "return" if origin == 0 && n <= 3 => 500,
        _ => script(case, origin).get(n - 1).copied().unwrap_or(200),
    }
}

fn case(name: &'static str, weir: &'static str, envoy: serde_json::Value) -> Case {
    Case {
        name,
        priorities: [0..ORIGINS, 0..0],
        weir,
        envoy: outlier(&envoy),
    }
}

fn cases() -> Vec<Case> {
    vec![
        case(
            "streak",
            "consecutive5xxErrors: 3, maxEjectionPercent: 100, baseEjectionTime: 300s, alwaysEjectOneHost: false",
            json!({ "consecutive_5xx": 3, "max_ejection_percent": 100 }),
        ),
        case(
            "gateway",
            "consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, maxEjectionPercent: 100, baseEjectionTime: 300s",
            json!({ "enforcing_consecutive_5xx": 0, "consecutive_gateway_failure": 3, "max_ejection_percent": 100 }),
        ),
        case(
            "percent",
            "consecutive5xxErrors: 3, maxEjectionPercent: 49, baseEjectionTime: 300s, alwaysEjectOneHost: false",
            json!({ "consecutive_5xx": 3, "max_ejection_percent": 49 }),
        ),
        case(
            "default",
            "consecutive5xxErrors: 3, baseEjectionTime: 300s",
            json!({ "consecutive_5xx": 3 }),
        ),
        case(
            "all",
            "consecutive5xxErrors: 3, maxEjectionPercent: 100, baseEjectionTime: 300s",
            json!({ "consecutive_5xx": 3, "max_ejection_percent": 100 }),
        ),
        case(
            "return",
            "consecutive5xxErrors: 3, maxEjectionPercent: 100, interval: 1s, baseEjectionTime: 2s",
            json!({ "consecutive_5xx": 3, "max_ejection_percent": 100, "base_ejection_time": "2s" }),
        ),
    ]
}

/// For each origin that was ejected, after how many of its requests.
fn drive(pair: &mut Pair, proxy: Proxy, case: &str) -> BTreeMap<usize, usize> {
    let mut asked: BTreeMap<usize, usize> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let response = pair.ask(proxy, case);
        // Without the field nobody was left to ask.
        if let Some(origin) = response.get("x-origin") {
            let origin = origin.parse().expect("an index");
            *asked.entry(origin).or_default() += 1;
        }
    }
    let ejected = pair.ejected(proxy, case);
    asked.retain(|origin, _| ejected.contains(origin));
    asked
}

#[test]
fn the_same_faults_eject_the_same_endpoints_after_the_same_requests() {
    let Some(mut pair) = Pair::start(ORIGINS, &cases(), status) else {
        return;
    };
    // semantics 2 and 3: the numbers are those of the scripts above.
    for (case, expected) in [
        ("streak", vec![(0, 6), (1, 4)]),
        ("gateway", vec![(0, 5), (2, 3)]),
        ("percent", vec![(1, 3)]),
    ] {
        let expected: BTreeMap<usize, usize> = expected.into_iter().collect();
        let weir = drive(&mut pair, Proxy::Weir, case);
        let envoy = drive(&mut pair, Proxy::Envoy, case);
        assert_eq!(weir, envoy, "{case}: weir and envoy");
        assert_eq!(weir, expected, "{case}: both, and the script");
    }
}

#[test]
fn where_they_differ_they_differ_on_purpose() {
    let Some(mut pair) = Pair::start(ORIGINS, &cases(), status) else {
        return;
    };
    // 10 percent of four is nobody: Weir takes 50 below ten endpoints.
    let weir = drive(&mut pair, Proxy::Weir, "default");
    let envoy = drive(&mut pair, Proxy::Envoy, "default");
    assert_eq!(weir.keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert!(envoy.is_empty(), "10 percent of four: {envoy:?}");
    // Never the last one.
    assert_eq!(drive(&mut pair, Proxy::Weir, "all").len(), ORIGINS - 1);
    assert_eq!(drive(&mut pair, Proxy::Envoy, "all").len(), ORIGINS);
}

#[test]
fn an_ejection_ends_with_the_interval_after_its_time() {
    let Some(mut pair) = Pair::start(ORIGINS, &cases(), status) else {
        return;
    };
    const BASE: Duration = Duration::from_secs(2);
    for proxy in [Proxy::Weir, Proxy::Envoy] {
        let mut since = Instant::now();
        while !pair.ejected(proxy, "return").contains(&0) {
            since = Instant::now();
            pair.ask(proxy, "return");
        }
        eventually("the endpoint back", || {
            pair.ejected(proxy, "return").is_empty().then_some(())
        });
        let out = since.elapsed();
        // Its time, Weir's jitter, an interval; and a busy machine may be late by more, never early.
        assert!(out >= BASE, "{proxy:?} brought it back after {out:?}");
    }
}
