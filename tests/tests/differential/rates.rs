//! Who is ejected for the share of requests that it never answers.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;
use weir_tests::wait::PATIENCE;

use super::pair::{Case, HANGS_UP, Pair, Proxy, outlier};

/// As many as are compared at least.
const ORIGINS: usize = 5;

/// The first takes every connection and answers nothing, the second answers all with a 500, the others are well.
fn status(_: &str, origin: usize, _: usize) -> u16 {
    match origin {
        0 => HANGS_UP,
        1 => 500,
        _ => 200,
    }
}

/// Only what endpoints do not answer is judged: all else that ejects is off, or out of reach.
fn case() -> Case {
    Case {
        name: "unanswered",
        priorities: [0..ORIGINS, 0..0],
        weir: "consecutive5xxErrors: 0, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 0, \
               maxEjectionPercent: 20, interval: 1s, baseEjectionTime: 300s, \
               successRate: { minimumHosts: 5, requestVolume: 10 }",
        envoy: outlier(&json!({
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "split_external_local_origin_errors": true,
            "enforcing_consecutive_local_origin_failure": 0,
            "enforcing_local_origin_success_rate": 100,
            "success_rate_minimum_hosts": 5,
            "success_rate_request_volume": 10,
            "max_ejection_percent": 20,
        })),
    }
}

// semantics 5
#[test]
fn who_answers_nothing_is_ejected_for_its_rate_by_both() {
    let Some(mut pair) = Pair::start(ORIGINS, &[case()], status) else {
        return;
    };
    for proxy in [Proxy::Weir, Proxy::Envoy] {
        let until = Instant::now() + PATIENCE;
        // Envoy counts a connection that is made as a success and the reset as a failure, so its rate is 50% there and 0% here:
        // both are below 1.9 deviations from the mean, whatever the others do.
        while pair.ejected(proxy, "unanswered").is_empty() && Instant::now() < until {
            for _ in 0..20 * ORIGINS {
                pair.ask(proxy, "unanswered");
            }
        }
        let out = pair.ejected(proxy, "unanswered");
        assert_eq!(out, BTreeSet::from([0]), "{proxy:?}");
    }
}
