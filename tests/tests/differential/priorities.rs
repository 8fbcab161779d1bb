//! How priorities share the load while some of the first are out.

use serde_json::json;

use super::pair::{Case, Pair, Proxy, outlier};

/// So that a percent is an endpoint.
const FIRST: usize = 100;
const DRAWS: usize = 2000;

/// Each case with how many of the first priority are well, and the part of the load that the second takes, in percent,
/// with what chance may add to either side (Envoy, priority levels: its own table).
const TABLE: [(&str, usize, f64, f64); 3] = [
    ("p72", 72, 0.0, 0.0),
    ("p71", 71, 1.0, 0.9),
    ("p50", 50, 30.0, 5.0),
];

fn well(case: &str) -> usize {
    let row = TABLE.iter().find(|row| row.0 == case);
    row.map_or(FIRST, |row| row.1)
}

// semantics 7
#[test]
fn priorities_share_the_load_as_the_published_table_says() {
    let cases = TABLE.map(|(name, ..)| Case {
        name,
        priorities: [0..FIRST, FIRST..FIRST + 4],
        weir: "consecutive5xxErrors: 1, maxEjectionPercent: 100, baseEjectionTime: 300s",
        envoy: outlier(&json!({ "consecutive_5xx": 1, "max_ejection_percent": 100 })),
    });
    let status = |case: &str, origin: usize, _: usize| match origin < FIRST && origin >= well(case)
    {
        true => 503,
        false => 200,
    };
    let Some(mut pair) = Pair::start(FIRST + 4, &cases, status) else {
        return;
    };
    for (case, well, share, chance) in TABLE {
        for proxy in [Proxy::Weir, Proxy::Envoy] {
            // Each that fails is out with its first request.
            for _ in 0..20 * FIRST {
                let status = pair.ask(proxy, case).status();
                if status >= 500 && pair.ejected(proxy, case).len() == FIRST - well {
                    break;
                }
            }
            assert_eq!(
                pair.ejected(proxy, case).len(),
                FIRST - well,
                "{proxy:?} {case}"
            );
            let second = (0..DRAWS).filter(|_| {
                let response = pair.ask(proxy, case);
                let origin = response.get("x-origin").map(str::parse::<usize>);
                origin.is_some_and(|origin| origin.expect("an index") >= FIRST)
            });
            let percent = second.count() as f64 * 100.0 / DRAWS as f64;
            assert!(
                (percent - share).abs() <= chance,
                "{proxy:?} {case}: {percent}% go to the second priority, {share}% should"
            );
        }
    }
}
