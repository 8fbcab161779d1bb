//! Receivers that are gone, slow or unwilling: spans are lost and counted, requests are not touched.

use std::time::{Duration, Instant};

use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

use super::receiver::{Mood, Receiver};
use super::{ask, traced};

fn lost(weir: &Weir, reason: &str) -> f64 {
    weir.metric(
        "weir_spans_dropped_total",
        &[&format!("reason=\"{reason}\"")],
    )
}

/// Requests that carry as much as is kept of one, and more.
fn heavy() -> String {
    let (path, agent, state) = ("p".repeat(2000), "a".repeat(2000), "v".repeat(250));
    let state: Vec<_> = (0..7).map(|at| format!("k{at}={state}")).collect();
    format!(
        "GET /{path} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {agent}\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: {}\r\n\r\n",
        state.join(",")
    )
}

/// Loads `weir` until the queue is full, and says how much memory it took.
fn overfill(weir: &Weir) -> usize {
    let before = weir.rss_kib();
    let load = Load::start(weir.addr(), 4, &heavy(), |response| {
        match response.status() {
            200 => Ok("ok".to_owned()),
            other => Err(format!("status {other}")),
        }
    });
    within(Duration::from_secs(60), "a full queue", || {
        (lost(weir, "queue-full") > 2000.0).then_some(())
    });
    let grown = weir.rss_kib().saturating_sub(before);
    let report = load.stop();
    assert_eq!(
        report.failures,
        Vec::<String>::new(),
        "requests are not touched"
    );
    grown
}

#[test]
fn a_receiver_that_is_gone_costs_spans_and_bounded_memory_and_it_may_come_back() {
    let origin = Origin::ok("app");
    let addr = ports::free();
    let otlp = format!("otlp: {{ endpoint: \"http://{addr}\", protocol: grpc }}");
    let weir = Weir::start(&traced(&origin, &otlp));
    let grown = overfill(&weir);
    // 4,096 requests of at most 8 KiB wait, and one export is on its way.
    assert!(grown < 48 * 1024, "{grown} KiB");
    eventually("an export that is given up", || {
        (lost(&weir, "unsent") > 0.0).then_some(())
    });
    let said = weir.stderr().matches("spans cannot be exported").count();
    assert_eq!(said, 1, "said once: {}", weir.stderr());
    let receiver = Receiver::at(addr, None);
    receiver.wait_for(4096);
    eventually("a message that it is over", || {
        weir.stderr().contains("exported again").then_some(())
    });
}

#[test]
fn a_receiver_that_never_answers_holds_up_no_request_and_not_the_end() {
    let origin = Origin::ok("app");
    let receiver = Receiver::start();
    receiver.be(Mood::Hangs);
    let otlp = format!(
        "otlp: {{ endpoint: \"http://{}\", protocol: http, timeout: 200ms }}",
        receiver.addr()
    );
    let mut weir = Weir::start(&traced(&origin, &format!("sampling: 100, {otlp}")));
    let grown = overfill(&weir);
    assert!(grown < 48 * 1024, "{grown} KiB");
    let begun = Instant::now();
    weir.signal(rustix::process::Signal::TERM);
    weir.wait_exit();
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn what_a_receiver_refuses_is_counted_and_what_may_pass_is_sent_again() {
    for protocol in ["grpc", "http"] {
        let origin = Origin::ok("app");
        let receiver = Receiver::start();
        let weir = Weir::start(&traced(
            &origin,
            &format!("sampling: 100, {}", receiver.otlp(protocol)),
        ));
        receiver.be(Mood::Refuses);
        ask(&weir, "");
        eventually("spans that were refused", || {
            (lost(&weir, "refused") == 2.0).then_some(())
        });
        assert_eq!(receiver.exports().len(), 1, "{protocol}: once is enough");
        receiver.be(Mood::LeavesOut(1));
        ask(&weir, "");
        eventually("one more", || (lost(&weir, "refused") == 3.0).then_some(()));
        eventually("the span to be counted", || {
            (weir.metric("weir_spans_exported_total", &[]) == 1.0).then_some(())
        });
        receiver.be(Mood::Busy);
        ask(&weir, "");
        eventually("an export that is refused for now", || {
            (receiver.exports().len() >= 3).then_some(())
        });
        receiver.be(Mood::Takes);
        receiver.wait_for(4);
        eventually("its count", || {
            (weir.metric("weir_spans_exported_total", &[]) == 3.0).then_some(())
        });
        let spans: Vec<_> = receiver
            .exports()
            .iter()
            .map(|export| export.spans)
            .collect();
        assert!(spans.iter().all(|spans| *spans == 2), "{spans:?}");
        assert_eq!(lost(&weir, "unsent") + lost(&weir, "queue-full"), 0.0);
    }
}
