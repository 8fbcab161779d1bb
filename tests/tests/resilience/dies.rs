//! Endpoints that die, hang or cannot be reached.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use weir_tests::load::Load;
use weir_tests::namespace::Namespace;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

use super::process::Process;
use super::{endpoint, fault, gets, routed, state, total, wait_for_state, with_status};

/// Kills one of three under a load of that many clients, whose answers take that long.
fn kill_one_of_three(clients: usize, wait: Duration) {
    let mut dying = Process::start("dying", wait);
    let survivors = [Origin::slow("one", wait), Origin::slow("two", wait)];
    let addrs = [survivors[0].addr(), survivors[1].addr(), dying.addr()];
    let weir = Weir::start(&routed(&addrs, "outlierDetection: {}", ""));
    let load = Load::gets(weir.addr(), clients, "a.example");
    load.advance(clients * 20);
    let (before, asked_before) = (load.done(), total(&[&survivors[0], &survivors[1]]));
    let retries_before = weir.metric("weir_retries_total", &[]);
    dying.kill();
    let out = wait_for_state(&weir, dying.addr(), "ejected");
    let reason = endpoint(&weir, dying.addr())["reason"].to_string();
    load.advance(clients * 50);
    let (after, asked) = (
        load.done() - before,
        total(&[&survivors[0], &survivors[1]]) - asked_before,
    );
    let retries = weir.metric("weir_retries_total", &[]) - retries_before;
    let denied = weir.metric("weir_retry_budget_exhausted_total", &[]);
    let report = load.stop();
    fault(
        &format!("kill -9 of one of three, {clients} clients, answers in {wait:?}"),
        "no failed request, out within 1 s, at most 20% more requests to the others",
        &format!(
            "{} failed, out after {out:?} ({reason}), {retries} retries ({denied} denied) and {asked} requests to the others for {after} of clients; {} in all",
            report.failures.len(),
            report.good
        ),
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(out < Duration::from_secs(1), "{out:?}");
    assert!(report.kinds["dying"] > 0, "{:?}", report.kinds);
    assert!(asked as f64 <= after as f64 * 1.2 + clients as f64);
    assert!(retries <= after as f64 * 0.2, "{retries} for {after}");
}

#[test]
fn one_of_three_killed_under_idempotent_load_fails_no_request() {
    kill_one_of_three(8, Duration::ZERO);
}

#[test]
fn one_of_three_killed_while_it_works_on_many_requests_fails_none_of_them() {
    kill_one_of_three(48, Duration::from_millis(20));
}

/// Two that answer and one at that address that does not, with requests until it is ejected: none may fail.
fn until_ejected(
    well: &[Origin; 2],
    silent: SocketAddr,
    keys: &str,
    rule: &str,
) -> (Weir, Load, Duration) {
    let addrs = [well[0].addr(), well[1].addr(), silent];
    let weir = Weir::start(&routed(&addrs, keys, rule));
    let load = Load::gets(weir.addr(), 4, "a.example");
    let out = wait_for_state(&weir, silent, "ejected");
    // The last tries may be on their way.
    std::thread::sleep(Duration::from_millis(500));
    load.advance(500);
    (weir, load, out)
}

#[test]
fn one_that_accepts_and_hangs_is_ejected_after_five_timeouts_and_then_left_alone() {
    let hanging = Origin::slow("hanging", Duration::from_secs(600));
    let well = [Origin::ok("one"), Origin::ok("two")];
    let (weir, load, out) = until_ejected(
        &well,
        hanging.addr(),
        // All four clients may have to try again at the same moment.
        "loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: {}, \
         connectionPool: { http: { retryBudget: { minRetryConcurrency: 4 } } }",
        "timeouts: { backendRequest: 200ms }, retry: { on: [gateway-error] }",
    );
    let (asked, before) = (hanging.count(), load.done());
    load.advance(2000);
    let later = hanging.count() - asked;
    assert_eq!(state(&weir, hanging.addr()), "ejected");
    let during = load.done() - before;
    let report = load.stop();
    fault(
        "one of three accepts and hangs; 200 ms a try, retries on gateway-error, 4 clients",
        "no failed request, ejected after 5 timeouts, nothing to it while ejected",
        &format!(
            "{} failed of {}, ejected after {out:?} and {asked} requests, {later} more during {during}",
            report.failures.len(),
            report.good + report.failures.len()
        ),
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    // Five in a row, and what the other clients had there by then.
    assert!((5..=8).contains(&asked), "{asked} requests");
    assert_eq!(later, 0);
}

#[test]
fn one_behind_a_rule_that_drops_everything_costs_timeouts_and_no_request() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let mut holed = namespace.command(env!("CARGO_BIN_EXE_weir-test-origin"));
    let holed = Process::spawn(holed.args(["holed", "0", &format!("{}:80", namespace.inner())]));
    let well = [Origin::ok("one"), Origin::ok("two")];
    let addrs = [well[0].addr(), well[1].addr(), holed.addr()];
    let weir = Weir::start(&routed(
        &addrs,
        // All four clients may have to try again at the same moment.
        "loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: {}, \
         connectionPool: { tcp: { connectTimeout: 250ms }, http: { retryBudget: { minRetryConcurrency: 4 } } }",
        "timeouts: { backendRequest: 250ms }, retry: { on: [gateway-error] }",
    ));
    let load = Load::gets(weir.addr(), 4, "a.example");
    load.advance(500);
    // Kept connections go silent as well as new ones.
    // Whatever is sent there is lost without a word.
    namespace.run("nft add table inet hole");
    namespace
        .run("nft add chain inet hole in { type filter hook input priority 0 ; policy drop ; }");
    let out = wait_for_state(&weir, holed.addr(), "ejected");
    // The last tries may be on their way.
    std::thread::sleep(Duration::from_millis(500));
    load.advance(500);
    let retries = weir.metric("weir_retries_total", &[]);
    load.advance(500);
    let later = weir.metric("weir_retries_total", &[]) - retries;
    // Alone, so that the timeout itself is seen.
    let alone = Weir::start(&routed(
        &[holed.addr()],
        "connectionPool: { tcp: { connectTimeout: 250ms } }",
        "retry: { attempts: 0 }",
    ));
    let start = Instant::now();
    let status = alone.get("a.example", "/").status();
    let took = start.elapsed();
    namespace.run("nft delete table inet hole");
    let back = wait_for_state(&weir, holed.addr(), "ready");
    let report = load.stop();
    fault(
        "nft drops all packets of one of three under load; connectTimeout and a try 250 ms, retries on gateway-error, 4 clients",
        "no failed request, ejected, nothing to it while ejected; 504 after 250 ms where it is alone; back when it accepts",
        &format!(
            "{} failed of {}, ejected after {out:?} and {retries} retries, {later} later; {status} after {took:?}; back {back:?} after the rule",
            report.failures.len(),
            report.good + report.failures.len()
        ),
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(report.kinds["holed"] > 0, "{:?}", report.kinds);
    assert!(retries <= 12.0 && later == 0.0, "{retries}, {later}");
    assert!(out < Duration::from_secs(5), "{out:?}");
    assert_eq!(status, 504);
    assert!((200..5000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_reset_after_the_request_repeats_a_get_and_never_a_post() {
    let reset = Origin::start(|exchange| exchange.body().map(|_| After::Reset));
    let well = Origin::ok("well");
    let weir = Weir::start(&routed(
        &[reset.addr(), well.addr()],
        "loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { consecutive5xxErrors: 0 }",
        "",
    ));
    let got = gets(&weir, 60);
    let (got_well, got_reset) = (with_status(&got, 200), reset.count());
    reset.clear();
    well.clear();
    let mut told = Vec::new();
    for id in 0..60 {
        let post = format!("POST /{id} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
        told.push(weir.client().send(post).response());
    }
    let seen = |origin: &Origin| -> Vec<String> {
        let requests = origin.requests();
        requests
            .iter()
            .map(|seen| seen.target().to_owned())
            .collect()
    };
    let (at_reset, at_well) = (seen(&reset), seen(&well));
    let (ok, bad) = (with_status(&told, 200), with_status(&told, 502));
    fault(
        "one of two resets after it has read the request; 60 GETs, 60 POSTs",
        "each GET answered, each POST sent once: 502 for those that met the reset",
        &format!(
            "GET: {got_well} answered 200, {got_reset} resets; POST: {ok} of 200, {bad} of 502, {} and {} requests at the two",
            at_reset.len(),
            at_well.len()
        ),
    );
    assert!(got_well == 60 && got_reset >= 20, "{got_well}, {got_reset}");
    assert_eq!((ok + bad, bad, ok), (60, at_reset.len(), at_well.len()));
    assert!(bad >= 20, "{bad}");
    assert!(at_reset.iter().all(|id| !at_well.contains(id)));
}
