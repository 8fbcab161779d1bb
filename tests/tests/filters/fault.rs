//! Faults on purpose: as often as stated, and within the request's time.

use std::time::{Duration, Instant};

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::wait_logged;

fn with_fault(origin: &Origin, fault: &str, rule: &str) -> Setup {
    let filter = format!("{{ type: FaultInjection, faultInjection: {{ {fault} }} }}");
    Setup::new()
        .service("app", &[("stable", origin.addr())])
        .route(
            "app",
            &format!("filters: [{filter}], backendRefs: [{{ name: app }}]{rule}"),
        )
}

/// Asserts that `got` of `of` are within five standard deviations of that many percent.
fn assert_share(got: usize, of: usize, percent: f64) {
    let (n, p) = (of as f64, percent / 100.0);
    let bound = 5.0 * (n * p * (1.0 - p)).sqrt();
    assert!(
        (got as f64 - n * p).abs() <= bound,
        "{got} of {of} for {percent}%"
    );
}

#[test]
fn aborts_come_as_often_as_stated_and_ask_nobody() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&with_fault(
        &origin,
        "abort: { status: 503, percent: 12.5 }",
        "",
    ));
    let mut client = weir.client();
    let count = 2000;
    let aborted = (0..count)
        .filter(|_| client.get("a.example", "/").status() == 503)
        .count();
    assert_share(aborted, count, 12.5);
    assert_eq!(origin.requests().len(), count - aborted);
    weir.counts("weir_requests_total", &["flag=\"FI\""], aborted as f64);
}

#[test]
fn nothing_and_all_are_exact() {
    let origin = Origin::ok("app");
    for (percent, want) in [("0", 0), ("100", 200)] {
        let fault = format!("abort: {{ status: 418, percent: {percent} }}");
        let weir = Weir::start(&with_fault(&origin, &fault, ""));
        let mut client = weir.client();
        let aborted = (0..200)
            .filter(|_| client.get("a.example", "/").status() == 418)
            .count();
        assert_eq!(aborted, want, "{percent}%");
    }
}

#[test]
fn a_delay_holds_the_request_and_then_it_is_served() {
    let origin = Origin::ok("app");
    let weir = Weir::start(
        &with_fault(&origin, "delay: { duration: 300ms, percent: 100 }", "").access_log("json"),
    );
    let start = Instant::now();
    let response = weir
        .client()
        .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello")
        .response();
    assert_eq!(response.status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(origin.wait_for(1)[0].data(), b"hello");
    wait_logged(
        &weir,
        "\"status\":200,\"grpc_status\":null,\"flags\":\"FI\"",
    );
}

#[test]
fn delays_come_as_often_as_stated() {
    let origin = Origin::ok("app");
    let weir = Weir::start(
        &with_fault(&origin, "delay: { duration: 1ms, percent: 20 }", "").access_log("json"),
    );
    let mut client = weir.client();
    let count = 2000;
    for _ in 0..count {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let logs = eventually("all lines of the log", || {
        let logs = weir.stdout();
        (logs.lines().count() >= count).then_some(logs)
    });
    assert_share(logs.matches("\"flags\":\"FI\"").count(), count, 20.0);
}

#[test]
fn the_requests_time_runs_during_a_delay() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&with_fault(
        &origin,
        "delay: { duration: 1h, percent: 100 }",
        ", timeouts: { request: 200ms }",
    ));
    let response = weir.get("a.example", "/");
    assert_eq!(response.status(), 504);
    assert!(origin.requests().is_empty());
}

#[test]
fn a_client_that_resets_ends_its_delay() {
    let origin = Origin::ok("app");
    let weir = Weir::start(
        &with_fault(
            &origin,
            "delay: { duration: 1h, percent: 100 }",
            ", timeouts: { request: 0s }",
        )
        .access_log("json"),
    );
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    eventually("the request in flight", || {
        (weir.metric("weir_inflight_requests", &[]) == 1.0).then_some(())
    });
    client.wire.reset_on_close();
    drop(client);
    wait_logged(&weir, "\"flags\":\"DC\"");
    assert!(origin.requests().is_empty());
}

#[test]
fn explain_tells_of_the_faults_and_the_limits() {
    let origin = Origin::ok("app");
    let limit = "{ type: RateLimit, rateLimit: { requests: 5, per: 1m, key: ClientIp } }";
    let fault = "{ type: FaultInjection, faultInjection: { delay: { duration: 2s, percent: 0.5 }, abort: { status: 503, percent: 100 } } }";
    let weir = Weir::start(
        &Setup::new()
            .service("app", &[("stable", origin.addr())])
            .route(
                "app",
                &format!("filters: [{limit}, {fault}], backendRefs: [{{ name: app }}]"),
            ),
    );
    let told = weir
        .admin("/api/v1/explain?method=GET&url=http://a.example/")
        .text();
    for want in [
        "at most 5 requests in 60s, 5 at once, for each client address",
        "delay 0.5% by 2s, answer 100% with 503",
        "503 by a filter",
        "\"flag\":\"FI\"",
    ] {
        assert!(told.contains(want), "{want:?} in {told}");
    }
}
