//! How long a call may take while nothing of an answer has come: its messages may still come, or it is held back.

use std::time::{Duration, Instant};

use h2::Reason;
use weir_tests::grpc::{self, Call};
use weir_tests::h2::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{assert_status, ended, failed};
use crate::support::{Speaks, to_with};

/// One fault, and the endpoint is out.
const TOUCHY: &str = "outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100, consecutiveLocalOriginFailures: 1, splitExternalLocalOriginErrors: true }";

/// Tries again, if it were not for a wait of minutes.
const PATIENT: &str = "retry: { attempts: 3, on: [unavailable], backoff: { base: 1h, max: 1h } }";

fn assert_took(start: Instant, least_ms: u64) {
    let took = start.elapsed();
    let right = Duration::from_millis(least_ms)..Duration::from_secs(3);
    assert!(right.contains(&took), "{took:?}");
}

#[test]
fn a_callers_deadline_holds_while_its_messages_may_still_come() {
    // It answers whole requests alone.
    let origin = Origin::start(|_| ended("0"));
    // The request's own time counts from the end of its messages on.
    let rule = "timeouts: { request: 100ms }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), TOUCHY, rule));
    let client = weir.h2c();
    let time = [("grpc-timeout", "400m")];
    for (messages, goes_on) in [(0, false), (1, false), (1, true)] {
        let start = Instant::now();
        let mut call = Call::start(&client, "/shop.Cart/Fill", &time);
        for _ in 0..messages {
            call.send(b"x");
        }
        let head = loop {
            if let Some(head) = call.stream().head_within(Duration::from_millis(50)) {
                break head.expect("a head");
            }
            assert!(start.elapsed() < Duration::from_secs(3), "no answer");
            if goes_on {
                // It may be refused by now, which the answer tells.
                let _ = call.stream().try_send(&grpc::frame(b"more"), false);
            }
        };
        assert_eq!(head.headers["grpc-status"], "4");
        assert_took(start, 390);
        let reset = eventually("a reset at the endpoint", || origin.requests().pop()?.reset);
        assert_eq!(reset, Reason::CANCEL);
    }
    assert_eq!(weir.metric("weir_ejections_total", &[]), 0.0);
    weir.counts("weir_requests_total", &["flag=\"UT\""], 3.0);
}

#[test]
fn a_callers_deadline_holds_during_a_delay_on_purpose_and_between_two_tries() {
    let delay = "filters: [{ type: FaultInjection, faultInjection: { delay: { duration: 1h, percent: 100 } } }]";
    for rule in [delay, PATIENT] {
        let origin = Origin::start(|_| failed("14"));
        let rule = format!("{rule}, timeouts: {{ request: 0s }}");
        let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", &rule));
        let start = Instant::now();
        let time = [("grpc-timeout", "300m")];
        let answer = grpc::call(&weir.h2c(), "/shop.Cart/Add", &[b"x"], &time);
        assert_status(&answer, "4");
        let message = answer.trailer("grpc-message");
        assert_eq!(message, Some("the caller's deadline has passed"), "{rule}");
        assert_took(start, 290);
        assert!(origin.count() <= 1);
    }
}

#[test]
fn a_requests_own_time_holds_between_two_tries() {
    let origin = Origin::start(|_| failed("14"));
    let rule = format!("{PATIENT}, timeouts: {{ request: 300ms }}");
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", &rule));
    let start = Instant::now();
    let answer = grpc::call(&weir.h2c(), "/shop.Cart/Add", &[b"x"], &[]);
    assert_status(&answer, "4");
    assert_took(start, 290);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_caller_that_leaves_between_two_tries_is_noticed() {
    let origin = Origin::start(|_| failed("14"));
    let rule = format!("{PATIENT}, timeouts: {{ request: 0s }}");
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", &rule));
    let client = weir.h2c();
    let mut call = Call::start(&client, "/shop.Cart/Add", &[]);
    call.send(b"x");
    call.finish();
    eventually("the retry that is waited for", || {
        let waits = weir.metric("weir_retries_total", &["reason=\"grpc-status\""]);
        (waits == 1.0).then_some(())
    });
    call.stream().reset(Reason::CANCEL);
    weir.counts("weir_grpc_requests_total", &["grpc_status=\"1\""], 1.0);
    assert_eq!(origin.count(), 1);
}
