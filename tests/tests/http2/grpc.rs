//! gRPC through the proxy: all kinds of calls, how they end, and what their ends are taken for.

mod deadlines;
mod early;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use h2::Reason;
use http::{HeaderMap, HeaderValue};
use weir_tests::config::Setup;
use weir_tests::grpc::{self, Call};
use weir_tests::h2::{Origin, Reply, Response, Seen};
use weir_tests::ports;
use weir_tests::program::Program;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

use crate::support::{Speaks, fronted, fronted_pair, to, to_with};

const ECHO: &str = "/weir.origin.v1.Echo/";

fn path(method: &str) -> String {
    format!("{ECHO}{method}")
}

fn status(value: &'static str) -> HeaderMap {
    let name = http::HeaderName::from_static("grpc-status");
    [(name, HeaderValue::from_static(value))]
        .into_iter()
        .collect()
}

/// An answer of gRPC with that status behind a message.
fn ended(value: &'static str) -> Reply {
    let mut reply = Reply {
        body: grpc::frame(b"hello"),
        trailers: Some(status(value)),
        ..Reply::default()
    };
    let kind = HeaderValue::from_static("application/grpc");
    reply.response.headers_mut().insert("content-type", kind);
    reply
}

/// The same of trailers alone: a head that is all.
fn failed(value: &'static str) -> Reply {
    let mut reply = ended(value);
    (reply.body, reply.trailers) = (Vec::new(), None);
    reply.response.headers_mut().extend(status(value));
    reply
}

/// Whether an answer is one of gRPC that ended with that status.
fn assert_status(answer: &Response, status: &str) {
    let got = (
        answer.status,
        answer.trailer("grpc-status"),
        answer.get("content-type"),
    );
    let message = answer.trailer("grpc-message");
    assert_eq!(
        got,
        (200, Some(status), Some("application/grpc")),
        "{message:?}"
    );
}

#[test]
fn calls_of_all_four_kinds_stream_through() {
    let origin = Program::origin(&[]);
    let (weir, client) = fronted(origin.addr());
    let answer = grpc::call(&client, &path("Unary"), &[b"hello"], &[]);
    assert_eq!(grpc::messages(&answer), [b"hello".to_vec()]);
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
    let count = [("x-origin-count", "4")];
    let answer = grpc::call(&client, &path("ServerStream"), &[b"x"], &count);
    assert_eq!(grpc::messages(&answer).len(), 4);
    let answer = grpc::call(&client, &path("ClientStream"), &[b"x", b"yz"], &[]);
    assert_eq!(grpc::messages(&answer), [b"2 messages, 3 bytes".to_vec()]);
    let mut call = Call::start(&client, &path("Bidi"), &[]);
    call.send(b"first");
    assert_eq!(call.stream().head().expect("a head").status, 200);
    for n in 0..50 {
        // Each answer comes before the next message is sent.
        assert!(call.message().is_some(), "message {n}");
        call.send(b"more");
    }
    call.finish();
    assert!(call.message().is_some());
    assert_eq!((call.message(), call.status()), (None, 0));
    eventually("four calls counted", || {
        let counted = weir.metric("weir_grpc_requests_total", &["grpc_status=\"0\""]);
        (counted == 4.0).then_some(())
    });
}

#[test]
fn what_an_endpoint_says_of_a_call_goes_to_the_caller_as_it_is() {
    let origin = Program::origin(&[]);
    let (_weir, client) = fronted(origin.addr());
    for code in ["1", "5", "9", "16"] {
        let metadata = [("x-origin-status", code), ("x-origin-message", "as asked")];
        let answer = grpc::call(&client, &path("Unary"), &[b"x"], &metadata);
        assert_eq!(answer.trailer("grpc-status"), Some(code));
        assert_eq!(answer.trailer("grpc-message"), Some("as asked"));
    }
    let trailers_only = grpc::call(&client, &path("Nothing"), &[b"x"], &[]);
    assert_eq!(
        (
            trailers_only.trailer("grpc-status"),
            trailers_only.body.len()
        ),
        (Some("12"), 0)
    );
}

#[test]
fn errors_of_ours_are_answers_of_grpc() {
    let origin = Program::origin(&[]);
    let setup = Setup::new()
        .service_with("app", &[("stable", origin.addr())], "appProtocol: h2c")
        .service_with("gone", &[("stable", ports::free())], "appProtocol: h2c")
        .service_with("full", &[("stable", origin.addr())], "appProtocol: h2c, connectionPool: { http: { http2MaxRequests: 1 } }")
        .rules("shop", "hostnames: [grpc.example]", &[
            "matches: [{ path: { type: PathPrefix, value: /weir.origin.v1.Echo } }], backendRefs: [{ name: app }], timeouts: { request: 300ms }",
            "matches: [{ path: { type: PathPrefix, value: /gone } }], backendRefs: [{ name: gone }]",
            "matches: [{ path: { type: PathPrefix, value: /full } }], backendRefs: [{ name: full }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /weir.origin.v1.Echo } } }]",
        ]);
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    let ask = |path: &str, metadata: &[(&str, &str)]| grpc::call(&client, path, &[b"x"], metadata);
    assert_status(&ask("/none/None", &[]), "12");
    assert_status(&ask("/gone/Call", &[]), "14");
    assert_status(&ask(&path("Unary"), &[("x-origin-delay", "5s")]), "4");
    let mut call = Call::start(&client, "/full/Bidi", &[]);
    call.send(b"x");
    assert_eq!(call.stream().head().expect("a head").status, 200);
    assert_status(&ask("/full/Unary", &[]), "14");
    drop(call);
}

#[test]
fn a_callers_deadline_bounds_the_head_and_the_stream_is_passed_on_and_no_endpoints_fault() {
    let origin = Program::origin(&[]);
    let keys = "outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100, consecutiveLocalOriginFailures: 1, splitExternalLocalOriginErrors: true }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), keys, ""));
    let client = weir.h2c();
    for _ in 0..3 {
        let start = Instant::now();
        let metadata = [("grpc-timeout", "200m"), ("x-origin-delay", "10s")];
        assert_status(
            &grpc::call(&client, &path("Unary"), &[b"x"], &metadata),
            "4",
        );
        let took = start.elapsed();
        assert!(
            (Duration::from_millis(190)..Duration::from_secs(2)).contains(&took),
            "{took:?}"
        );
        let metadata = [
            ("grpc-timeout", "300m"),
            ("x-origin-count", "1000"),
            ("x-origin-interval", "20ms"),
        ];
        let answer = grpc::call(&client, &path("ServerStream"), &[b"x"], &metadata);
        assert!(answer.body.len() > 6, "some messages came");
        assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "4");
    }
    assert_eq!(weir.metric("weir_ejections_total", &[]), 0.0);
    weir.counts("weir_grpc_requests_total", &["grpc_status=\"4\""], 6.0);
    let described = grpc::call(
        &client,
        &path("Describe"),
        &[b""],
        &[("grpc-timeout", "7S")],
    );
    let text = String::from_utf8_lossy(&described.body).into_owned();
    assert!(
        text.contains("grpc-timeout") && text.contains("7S"),
        "{text}"
    );
}

#[test]
fn a_caller_whose_time_is_up_before_the_connection_is_made_takes_nobody_with_it() {
    // Nobody answers the connection before the first caller's time is up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let keys = "connectionPool: { tcp: { connectTimeout: 10s } }, outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100 }";
    let weir = Weir::start(&to_with(Speaks::H2, addr, keys, ""));
    let client = weir.h2c();
    let mut patient = Call::start(&client, &path("Unary"), &[("grpc-timeout", "10S")]);
    let mut hasty = Call::start(&client, &path("Unary"), &[("grpc-timeout", "100m")]);
    for call in [&mut patient, &mut hasty] {
        call.send(b"x");
        call.finish();
    }
    let head = hasty.stream().head().expect("an answer");
    assert_eq!(head.headers["grpc-status"], "4");
    assert_eq!(weir.metric("weir_ejections_total", &[]), 0.0);
    drop(listener);
    let head = patient.stream().head().expect("an answer");
    assert_eq!(
        head.headers["grpc-status"], "14",
        "a connection that broke, and no deadline"
    );
}

#[test]
fn a_status_that_the_route_names_is_retried_with_the_whole_body() {
    for trailers_only in [true, false] {
        let count = AtomicUsize::new(0);
        let origin = Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 if trailers_only => failed("14"),
            0 => ended("14"),
            _ => ended("0"),
        });
        let weir = Weir::start(&to_with(
            Speaks::H2,
            origin.addr(),
            "",
            "retry: { attempts: 2, on: [unavailable] }",
        ));
        let answer = grpc::call(&weir.h2c(), "/shop.Cart/Add", &[b"one", b"two"], &[]);
        // What stands behind a message comes too late.
        let expected = if trailers_only { ("0", 2) } else { ("14", 1) };
        assert_eq!(
            (answer.trailer("grpc-status"), origin.count()),
            (Some(expected.0), expected.1)
        );
        let bodies: Vec<_> = origin
            .requests()
            .into_iter()
            .map(|seen| seen.body)
            .collect();
        let whole = [grpc::frame(b"one"), grpc::frame(b"two")].concat();
        assert!(bodies.iter().all(|body| body.as_ref() == Some(&whole)));
    }
}

#[test]
fn a_second_try_is_told_what_is_left_of_its_callers_time() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply {
            wait: Duration::from_millis(400),
            ..failed("14")
        },
        _ => ended("0"),
    });
    let retry = "retry: { attempts: 2, on: [unavailable] }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", retry));
    let time = [("grpc-timeout", "5S")];
    let answer = grpc::call(&weir.h2c(), "/shop.Cart/Add", &[b"x"], &time);
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
    let told: Vec<Vec<String>> = origin
        .requests()
        .iter()
        .map(|seen| {
            let values = seen.headers.get_all("grpc-timeout").iter();
            values
                .map(|value| value.to_str().expect("text").to_owned())
                .collect()
        })
        .collect();
    let [first, second] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(first, &["5S"]);
    let left: u64 = match &second[..] {
        [one] => one.strip_suffix('m').and_then(|ms| ms.parse().ok()),
        _ => None,
    }
    .unwrap_or_else(|| panic!("{second:?}"));
    assert!((2000..=4625).contains(&left), "{left} ms are left");
}

#[test]
fn the_log_says_how_a_call_ended_and_nothing_of_what_is_none() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to(Speaks::H2, origin.addr()).access_log("json"));
    let client = weir.h2c();
    let asked = [("x-origin-status", "5")];
    let _ = grpc::call(&client, &path("Unary"), &[b"x"], &asked);
    let _ = client.get("a.example", "/");
    let lines = eventually("two lines", || {
        let lines: Vec<_> = weir.stdout().lines().map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    });
    let said: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(said[0]["grpc_status"], 5, "{}", lines[0]);
    assert_eq!(said[0]["status"], 200, "{}", lines[0]);
    assert_eq!(
        said[1]["grpc_status"],
        serde_json::Value::Null,
        "{}",
        lines[1]
    );
}

#[test]
fn an_endpoint_whose_calls_end_badly_is_ejected_and_one_whose_callers_err_is_not() {
    for (code, ejected) in [("14", true), ("13", true), ("5", false), ("3", false)] {
        let bad = Origin::start(move |_| ended(code));
        let good = Origin::start(|_| ended("0"));
        let keys = "outlierDetection: { consecutive5xxErrors: 3, maxEjectionPercent: 100 }";
        let (_weir, client) = fronted_pair([bad.addr(), good.addr()], keys);
        for _ in 0..20 {
            let _ = grpc::call(&client, "/shop.Cart/Add", &[b"x"], &[]);
        }
        let expected = if ejected { (3, 17) } else { (10, 10) };
        assert_eq!((bad.count(), good.count()), expected, "status {code}");
    }
}

#[test]
fn a_cancel_goes_both_ways() {
    let origin = Program::origin(&[]);
    let hanging = Origin::start(|_: &Seen| Reply {
        wait: Duration::from_secs(30),
        ..Reply::default()
    });
    let (weir, client) = fronted(hanging.addr());
    let mut call = Call::start(&client, "/shop.Cart/Watch", &[]);
    call.send(b"x");
    hanging.wait_for(1);
    call.stream().reset(Reason::CANCEL);
    let seen = within(Duration::from_secs(2), "the cancel", || {
        hanging.requests()[0].reset
    });
    assert_eq!(seen, Reason::CANCEL);
    eventually("a call counted as cancelled", || {
        (weir.metric("weir_grpc_requests_total", &["grpc_status=\"1\""]) == 1.0).then_some(())
    });
    // An endpoint that breaks a stream of messages off: the caller is told in trailers.
    let (_weir, client) = fronted(origin.addr());
    let metadata = [("x-origin-count", "1000"), ("x-origin-interval", "20ms")];
    let mut call = Call::start(&client, &path("ServerStream"), &metadata);
    call.send(b"x");
    call.finish();
    assert_eq!(call.stream().head().expect("a head").status, 200);
    assert!(call.message().is_some());
    drop(origin);
    while call.message().is_some() {}
    assert_eq!(call.status(), 14);
}

#[test]
fn rules_match_by_service_and_method() {
    let [cart, add, other] = ["cart", "add", "other"].map(|name| {
        Origin::start(move |_| {
            let mut reply = ended("0");
            reply.body = grpc::frame(name.as_bytes());
            reply
        })
    });
    let service = |setup: Setup, name: &str, origin: &Origin| {
        setup.service_with(name, &[("stable", origin.addr())], "appProtocol: grpc")
    };
    let setup = service(
        service(service(Setup::new(), "cart", &cart), "add", &add),
        "other",
        &other,
    );
    let setup = setup.rules("shop", "", &[
        "matches: [{ grpc: { service: shop.Cart } }], backendRefs: [{ name: cart }]",
        "matches: [{ grpc: { service: shop.Cart, method: Add } }], backendRefs: [{ name: add }]",
        "matches: [{ grpc: { service: \"shop\\\\.[A-Z].*\", type: RegularExpression } }], backendRefs: [{ name: other }]",
    ]);
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    for (path, expected) in [
        ("/shop.Cart/Remove", "cart"),
        ("/shop.Cart/Add", "add"),
        ("/shop.Stock/Add", "other"),
    ] {
        let answer = grpc::call(&client, path, &[b"x"], &[]);
        assert_eq!(
            grpc::messages(&answer),
            [expected.as_bytes().to_vec()],
            "{path}"
        );
    }
    assert_status(
        &grpc::call(&client, "/shopping.Cart/Add", &[b"x"], &[]),
        "12",
    );
}

#[test]
fn a_health_check_of_grpc_takes_an_endpoint_out_and_in_again() {
    let origin = Program::origin(&[]);
    let keys = "healthCheck: { interval: 100ms, healthyThreshold: 1, unhealthyThreshold: 1, grpc: {} }, outlierDetection: { minHealthPercent: 0 }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), keys, ""));
    let client = weir.h2c();
    let call = || grpc::call(&client, &path("Unary"), &[b"x"], &[]);
    let set = |status: &str| {
        let target = format!(
            "POST /healthz?status={status} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        );
        weir_tests::client::Client::connect(origin.addr())
            .send(target)
            .response();
    };
    eventually("the first pass", || {
        (call().trailer("grpc-status") == Some("0")).then_some(())
    });
    set("503");
    eventually("the endpoint out", || {
        (call().trailer("grpc-status") == Some("14")).then_some(())
    });
    set("200");
    eventually("the endpoint in", || {
        (call().trailer("grpc-status") == Some("0")).then_some(())
    });
}
