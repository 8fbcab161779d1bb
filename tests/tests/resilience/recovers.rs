//! All endpoints down, and back; and panic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{GET, fault, gets, routed, state, wait_for_state, with_status};

const CHECK: &str =
    "healthCheck: { http: { path: /healthz }, interval: 1s, healthyThreshold: 1, timeout: 10s }";

/// Answers requests, and checks too unless it is told to fail them.
fn checked(addr: SocketAddr, name: &str, failing: &Arc<AtomicBool>) -> Origin {
    let (failing, field) = (Arc::clone(failing), format!("x-origin: {name}\r\n"));
    Origin::start_at(addr, move |exchange| {
        exchange.body()?;
        let check = exchange.head.word(1) == "/healthz";
        let bad = check && failing.load(Ordering::SeqCst);
        exchange.reply(if bad { 500 } else { 200 }, &field, "OK")
    })
}

fn served(origin: &Origin) -> usize {
    let requests = origin.requests();
    requests.iter().filter(|seen| seen.target() == "/").count()
}

#[test]
fn all_down_and_back_recovers_within_a_probe_and_without_a_flood() {
    let passing = Arc::new(AtomicBool::new(false));
    let addrs = [(); 3].map(|()| weir_tests::ports::free());
    let start_all = || addrs.map(|addr| checked(addr, "app", &passing));
    let origins = start_all();
    let keys = format!("{CHECK}, outlierDetection: {{}}");
    let weir = Weir::start(&routed(&addrs, &keys, ""));
    for addr in addrs {
        wait_for_state(&weir, addr, "ready");
    }
    // Paced, so that a client whom nobody answers does not ask faster for it.
    let rest = Duration::from_millis(25);
    let load = Load::paced(weir.addr(), 8, rest, GET, |response| {
        Ok(response.status().to_string())
    });
    load.advance(100);
    let (from, clock) = (load.done(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let steady = (load.done() - from) as f64 / clock.elapsed().as_secs_f64();
    drop(origins);
    let down = Instant::now();
    eventually("everybody to be out", || {
        addrs
            .iter()
            .all(|a| state(&weir, *a) != "ready")
            .then_some(())
    });
    let down = down.elapsed();
    let origins = start_all();
    let start = Instant::now();
    eventually("an answer", || {
        origins.iter().any(|o| served(o) > 0).then_some(())
    });
    let recovered = start.elapsed();
    let clock = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let second = clock.elapsed().as_secs_f64();
    let each = origins.each_ref().map(served);
    let first = each.iter().sum::<usize>() as f64 / second;
    let healthy = eventually("all to be back", || {
        addrs
            .iter()
            .all(|a| state(&weir, *a) == "ready")
            .then(|| start.elapsed())
    });
    let report = load.stop();
    fault(
        "all three down until all are out, and back; 8 paced clients",
        "the first answer within a probe's interval (1 s), first second at most 1.5x the steady rate",
        &format!(
            "down seen after {down:?}, first answer {recovered:?} after the return, all ready after {healthy:?}; steady {steady:.0}/s, first second {first:.0}/s as {each:?}; answers {:?}",
            report.kinds
        ),
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    // The interval, and what a busy machine adds.
    assert!(recovered < Duration::from_secs(4), "{recovered:?}");
    assert!(first <= steady * 1.5 + 10.0, "{first} after {steady}");
}

// semantics 6
#[test]
fn when_all_fail_their_checks_all_are_used_unless_panic_is_off() {
    let failing = Arc::new(AtomicBool::new(false));
    let addrs = [(); 3].map(|()| weir_tests::ports::free());
    let origins = addrs.map(|addr| checked(addr, "app", &failing));
    let with = |percent: u8| {
        let keys = format!(
            "{}, outlierDetection: {{ minHealthPercent: {percent} }}",
            CHECK.replace("interval: 1s", "interval: 100ms")
        );
        routed(&addrs, &keys, "retry: { attempts: 0 }").access_log("json")
    };
    let weir = Weir::start(&with(50));
    for addr in addrs {
        wait_for_state(&weir, addr, "ready");
    }
    assert_eq!(weir.metric("weir_panic", &[]), 0.0);
    failing.store(true, Ordering::SeqCst);
    for addr in addrs {
        wait_for_state(&weir, addr, "failing");
    }
    let before = origins.each_ref().map(served);
    let answers = gets(&weir, 60);
    let after = origins.each_ref().map(served);
    let used: Vec<_> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let panic = weir.metric("weir_panic", &[]);
    weir.apply(&with(0));
    let refused = gets(&weir, 20);
    eventually("the flag in the log", || {
        (weir.stdout().matches("\"UH\"").count() >= 20).then_some(())
    });
    fault(
        "all three fail their checks; 60 requests, then 20 with minHealthPercent 0",
        "all are used, weir_panic 1; then 503 UH",
        &format!(
            "{} answered 200, used {used:?}, weir_panic {panic}; {} answered 503 UH",
            with_status(&answers, 200),
            with_status(&refused, 503)
        ),
    );
    assert_eq!((with_status(&answers, 200), panic), (60, 1.0));
    assert!(used.iter().all(|n| *n >= 5), "{used:?}");
    assert_eq!(with_status(&refused, 503), 20);
    failing.store(false, Ordering::SeqCst);
    for addr in addrs {
        wait_for_state(&weir, addr, "ready");
    }
    assert_eq!(weir.metric("weir_panic", &[]), 0.0);
}
