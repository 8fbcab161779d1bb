//! Ejection by what endpoints answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{fault, gets, routed, state, wait_for_state, with_status};

const NO_RETRY: &str = "retry: { attempts: 0 }";

/// An origin that answers what it is told to.
fn told(name: &str) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let current = Arc::clone(&status);
    let origin = Origin::answering(name, move |_| {
        (current.load(Ordering::SeqCst), Duration::ZERO)
    });
    (origin, status)
}

/// An origin that answers these statuses in turn, over and over.
fn in_turn(name: &str, statuses: &'static [u16]) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::answering(name, move |_| {
        let at = count.fetch_add(1, Ordering::SeqCst);
        (statuses[at % statuses.len()], Duration::ZERO)
    })
}

fn keys(outlier: &str) -> String {
    format!("loadBalancer: {{ simple: ROUND_ROBIN }}, outlierDetection: {{ {outlier} }}")
}

// semantics 2
#[test]
fn of_three_endpoints_one_is_ejected_at_most_and_the_refusal_is_counted() {
    let (bad, worse, well) = (
        in_turn("bad", &[503]),
        in_turn("worse", &[500]),
        Origin::ok("well"),
    );
    let addrs = [bad.addr(), worse.addr(), well.addr()];
    let weir = Weir::start(&routed(&addrs, &keys(""), NO_RETRY));
    let answers = gets(&weir, 90);
    let out: Vec<_> = addrs
        .iter()
        .filter(|a| state(&weir, **a) == "ejected")
        .collect();
    let overflow = weir.metric("weir_ejections_overflow_total", &[]);
    let active = weir.metric("weir_ejections_active", &[]);
    fault(
        "two of three answer 5xx; 90 requests, no retries",
        "one ejected, the other not (50% of three), the refusal counted",
        &format!(
            "{} ejected, {overflow} refusals, {} of 90 answered 200",
            out.len(),
            with_status(&answers, 200)
        ),
    );
    assert!(out.len() == 1 && active == 1.0, "{out:?}, {active}");
    assert!(overflow >= 1.0);
    for args in [
        &["endpoints", "-o", "wide"][..],
        &["explain", "GET", "http://a.example/"],
    ] {
        let told = String::from_utf8_lossy(&weir.cli(args).stdout).into_owned();
        assert!(told.contains("not ejected"), "{args:?}: {told}");
    }
}

// semantics 3
#[test]
fn another_5xx_ends_a_row_of_gateway_errors_and_a_success_ends_both() {
    // Each with a partner, since the last endpoint is never ejected.
    for (statuses, gateway, five, ejected) in [
        (&[503, 503, 500][..], 3, 0, false),
        (&[503, 503, 500], 0, 5, true),
        (&[503, 502, 504], 3, 0, true),
        (&[503, 500, 503, 500, 200], 0, 5, false),
    ] {
        let (failing, well) = (in_turn("failing", statuses), Origin::ok("well"));
        let outlier = format!(
            "consecutiveGatewayErrors: {gateway}, consecutive5xxErrors: {five}, successRate: {{ enabled: false }}"
        );
        let addrs = [failing.addr(), well.addr()];
        let setup = routed(&addrs, &keys(&outlier), NO_RETRY).workers(1);
        let weir = Weir::start(&setup);
        let _ = gets(&weir, 40);
        let is = state(&weir, failing.addr());
        fault(
            &format!("{statuses:?} in turn; gateway {gateway}, 5xx {five}; 40 requests"),
            if ejected { "ejected" } else { "ready" },
            &format!("{is} after {} answers of it", failing.count()),
        );
        assert_eq!(is == "ejected", ejected, "{statuses:?}: {is}");
    }
}

// semantics 4, 12
#[test]
fn one_that_returns_takes_its_share_and_survives_one_error() {
    let (failing, status) = told("failing");
    let others = [Origin::ok("one"), Origin::ok("two")];
    let addrs = [failing.addr(), others[0].addr(), others[1].addr()];
    let outlier = "interval: 200ms, baseEjectionTime: 1s, successRate: { enabled: false }";
    for balancer in ["ROUND_ROBIN", "LEAST_REQUEST"] {
        let keys =
            format!("loadBalancer: {{ simple: {balancer} }}, outlierDetection: {{ {outlier} }}");
        let weir = Weir::start(&routed(&addrs, &keys, NO_RETRY));
        status.store(503, Ordering::SeqCst);
        eventually("its ejection", || {
            let _ = gets(&weir, 5);
            (state(&weir, failing.addr()) == "ejected").then_some(())
        });
        status.store(200, Ordering::SeqCst);
        let out = wait_for_state(&weir, failing.addr(), "ready");
        let before = failing.count();
        let answers = gets(&weir, 90);
        let share = failing.count() - before;
        // What it failed weighs on it a little longer where load decides.
        eventually("its share", || {
            let _ = gets(&weir, 5);
            (failing.count() > before).then_some(())
        });
        status.store(503, Ordering::SeqCst);
        let errors = eventually("an error", || {
            let errors = with_status(&gets(&weir, 1), 503);
            (errors > 0).then_some(errors)
        });
        status.store(200, Ordering::SeqCst);
        let after = state(&weir, failing.addr());
        fault(
            &format!("ejected for 1 s, then well again; {balancer}, 90 requests"),
            "its share at most (30, no flood), and one more error does not eject it",
            &format!(
                "back after {out:?}, {share} of 90, {} failed; after {errors} error: {after}",
                90 - with_status(&answers, 200)
            ),
        );
        assert!(share <= 45, "{share} of 90");
        assert_eq!(with_status(&answers, 200), 90);
        assert_eq!(after, "ready");
    }
}

#[test]
fn who_only_observes_detects_and_ejects_nobody() {
    let (failing, well) = (in_turn("failing", &[503]), Origin::ok("well"));
    let weir = Weir::start(&routed(
        &[failing.addr(), well.addr()],
        &keys("observeOnly: true"),
        NO_RETRY,
    ));
    let answers = gets(&weir, 60);
    let detected = weir.metric("weir_ejections_total", &["enforced=\"false\""]);
    let enforced = weir.metric("weir_ejections_total", &["enforced=\"true\""]);
    fault(
        "one of two answers 503, observeOnly; 60 requests",
        "detected, not ejected",
        &format!(
            "{detected} detected, {enforced} enforced, {} answered 503",
            with_status(&answers, 503)
        ),
    );
    assert!(detected >= 1.0 && enforced == 0.0);
    assert_eq!(state(&weir, failing.addr()), "ready");
    assert!(with_status(&answers, 503) >= 20);
}
