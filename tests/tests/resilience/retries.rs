//! The retry budget under load.

use std::time::Duration;

use weir_tests::load::Load;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

use super::{GET, fault, routed, total};

// semantics 26
#[test]
fn endpoints_that_all_drop_their_requests_use_up_the_budget_too() {
    let dropping = ["one", "two", "three"].map(|_| {
        Origin::start(|exchange| {
            exchange.body()?;
            std::thread::sleep(Duration::from_millis(10));
            Ok(After::Reset)
        })
    });
    let addrs = dropping.each_ref().map(Origin::addr);
    let weir = Weir::start(&routed(
        &addrs,
        "outlierDetection: { observeOnly: true }",
        "",
    ));
    let load = Load::start(weir.addr(), 40, GET, |response| {
        Ok(response.status().to_string())
    });
    load.advance(3000);
    let report = load.stop();
    let tries = total(&dropping.each_ref());
    let ratio = tries as f64 / report.good as f64;
    let exhausted = weir.metric("weir_retry_budget_exhausted_total", &[]);
    fault(
        "every endpoint resets every request after 10 ms, default retries, 40 clients",
        "at most 1.25 tries a request",
        &format!(
            "{tries} tries for {} requests ({ratio:.3}), {exhausted} retries not made",
            report.good
        ),
    );
    assert!(ratio <= 1.25, "{ratio}");
    assert!(exhausted > 0.0);
}

// semantics 26
#[test]
fn retries_of_a_service_that_fails_altogether_stay_within_the_budget() {
    let failing =
        ["one", "two"].map(|name| Origin::answering(name, |_| (503, Duration::from_millis(10))));
    let addrs = failing.each_ref().map(Origin::addr);
    let weir = Weir::start(&routed(
        &addrs,
        "outlierDetection: { observeOnly: true }",
        "retry: { on: [5xx], attempts: 2 }",
    ));
    let load = Load::start(weir.addr(), 40, GET, |response| {
        Ok(response.status().to_string())
    });
    load.advance(3000);
    let report = load.stop();
    let tries = total(&failing.each_ref());
    let exhausted = weir.metric("weir_retry_budget_exhausted_total", &[]);
    let ratio = tries as f64 / report.good as f64;
    fault(
        "every answer is 503, retries on 5xx, 40 clients",
        "at most 1.25 tries a request, what was refused is counted",
        &format!(
            "{tries} tries for {} requests ({ratio:.3}), {exhausted} retries not made",
            report.good
        ),
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(ratio <= 1.25 && ratio > 1.0, "{ratio}");
    assert!(exhausted > 0.0);
    assert_eq!(report.kinds.get("503"), Some(&report.good));
}

// semantics 26
#[test]
fn endpoints_that_are_gone_cost_no_tries_while_others_are_well() {
    let alive: Vec<Origin> = (0..4).map(|_| Origin::ok("alive")).collect();
    let gone: Vec<_> = (0..3).map(|_| weir_tests::ports::free()).collect();
    let addrs: Vec<_> = (alive.iter().map(Origin::addr)).chain(gone).collect();
    let keys = "loadBalancer: { simple: RANDOM }";
    let weir = Weir::start(&routed(&addrs, keys, "retry: { attempts: 1 }"));
    // All at once: before anybody knows who is gone.
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..60)
            .map(|_| scope.spawn(|| weir.get("a.example", "/").status()))
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let failed = answers.iter().filter(|status| **status != 200).count();
    fault(
        "three of seven do not listen, one retry, 60 clients at once",
        "0 failed",
        &format!("{failed} of {} failed", answers.len()),
    );
    assert_eq!(failed, 0, "{answers:?}");
}
