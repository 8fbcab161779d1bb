//! What a receiver gets of requests that are recorded.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue, Method};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustix::process::Signal;
use serde_json::Value;
use tokio_rustls::TlsAcceptor;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::pki::Authority;
use weir_tests::tls::{Connector, Offer, acceptor};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::{grpc, h2, ports};

use super::receiver::{Receiver, Seen};
use super::{SPAN, TRACE, ask, parts, traced, traceparent};

fn check(span: &Seen, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(span.get(key).as_deref(), Some(*value), "{key} of {span:#?}");
    }
}

/// The SERVER span and the CLIENT spans, in the order of their beginnings.
fn of_request(mut spans: Vec<Seen>) -> (Seen, Vec<Seen>) {
    spans.sort_by_key(|seen| seen.span.start_time_unix_nano);
    let (mut server, clients): (Vec<_>, Vec<_>) = spans
        .into_iter()
        .partition(|seen| seen.span.kind() == SpanKind::Server);
    assert_eq!(server.len(), 1, "{server:#?}");
    (server.remove(0), clients)
}

fn failed(seen: &Seen) -> bool {
    seen.span.status.as_ref().map(|status| status.code()) == Some(StatusCode::Error)
}

#[test]
fn a_request_is_seen_by_both_protocols_with_the_endpoint_below_the_try() {
    for (protocol, version, path) in [
        (
            "grpc",
            http::Version::HTTP_2,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ),
        ("http", http::Version::HTTP_11, "/v1/traces"),
    ] {
        let origin = Origin::ok("app");
        let receiver = Receiver::start();
        let otlp = format!(
            "otlp: {{ endpoint: \"http://{}\", protocol: {protocol}, serviceName: edge, headers: {{ x-key: s3cret }} }}",
            receiver.addr()
        );
        let weir = Weir::start(&traced(&origin, &otlp));
        let fields = format!("{}tracestate: a=1,b=2\r\n", traceparent("01"));
        assert_eq!(ask(&weir, &fields).status(), 200);
        let (server, clients) = of_request(receiver.wait_for(2));
        let [client] = &clients[..] else {
            panic!("{clients:#?}")
        };
        let at_origin = origin.only();
        let (trace, parent, flags) = parts(at_origin.get("traceparent").expect("a parent"));
        assert_eq!((&*trace, &*flags), (TRACE, "01"));
        assert_eq!(parent, client.id(), "the endpoint is the child of the try");
        assert_eq!(
            (client.parent(), server.parent()),
            (server.id(), SPAN.to_owned())
        );
        for seen in [&server, client] {
            assert_eq!(seen.trace(), TRACE);
            assert_eq!(seen.span.trace_state, "a=1,b=2");
            assert!(!failed(seen));
        }
        assert_eq!(at_origin.get("tracestate"), Some("a=1,b=2"));
        assert_eq!(
            (client.span.kind(), &*client.span.name),
            (SpanKind::Client, "GET")
        );
        assert_eq!(server.span.name, "GET app");
        let request_id = at_origin.get("x-request-id").expect("an id").to_owned();
        check(
            &server,
            &[
                ("http.request.method", "GET"),
                ("url.path", "/cart"),
                ("url.scheme", "http"),
                ("server.address", "shop.example"),
                ("server.port", "81"),
                ("client.address", "127.0.0.1"),
                ("http.response.status_code", "200"),
                ("network.protocol.version", "1.1"),
                ("http.route", "app"),
                ("user_agent.original", "test/1"),
                ("weir.listener", "web"),
                ("weir.service", "app"),
                ("weir.version", "stable"),
                ("weir.request_id", &request_id),
            ],
        );
        check(
            client,
            &[
                ("url.full", "http://shop.example:81/cart"),
                ("server.address", "127.0.0.1"),
                ("server.port", &origin.addr().port().to_string()),
                ("http.response.status_code", "200"),
            ],
        );
        assert!(
            !format!("{server:?}{client:?}").contains("secret"),
            "a query is never told"
        );
        let (outer, inner) = (&server.span, &client.span);
        assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano);
        assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano);
        assert_eq!(server.of_resource("service.name").as_deref(), Some("edge"));
        let export = receiver.exports().remove(0);
        assert_eq!((export.version, &*export.path), (version, path));
        assert_eq!(
            export.fields.get("x-key").map(|v| v.as_bytes()),
            Some(&b"s3cret"[..])
        );
        // Counted once the receiver's answer is there, a moment after it has them.
        weir_tests::wait::eventually("both spans to be counted", || {
            (weir.metric("weir_spans_exported_total", &[]) == 2.0).then_some(())
        });
        assert_eq!(weir.metric("weir_spans_dropped_total", &[]), 0.0);
    }
}

#[test]
fn a_root_has_no_parent() {
    let origin = Origin::ok("app");
    let receiver = Receiver::start();
    let weir = Weir::start(&traced(
        &origin,
        &format!("sampling: 100, {}", receiver.otlp("grpc")),
    ));
    ask(&weir, "");
    let (server, _) = of_request(receiver.wait_for(2));
    assert_eq!(server.parent(), "");
    let (trace, _, _) = parts(origin.only().get("traceparent").expect("a parent"));
    assert_eq!(server.trace(), trace);
}

#[test]
fn each_try_has_its_span_and_its_endpoint_that_parent() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |exchange| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(After::Reset),
        1 => exchange.reply(503, "", "busy"),
        _ => exchange.reply(200, "", "ok"),
    });
    let receiver = Receiver::start();
    let setup = Setup::new()
        .top(&format!(
            "tracing: {{ sampling: 100, {} }}",
            receiver.otlp("http")
        ))
        .service("app", &[("stable", origin.addr())])
        .route(
            "app",
            "backendRefs: [{ name: app }], retry: { attempts: 3, on: [\"5xx\", reset-before-request] }",
        );
    let weir = Weir::start(&setup);
    assert_eq!(ask(&weir, "").status(), 200);
    let (server, clients) = of_request(receiver.wait_for(4));
    let ids: Vec<_> = clients.iter().map(Seen::id).collect();
    let parents: Vec<_> = origin
        .requests()
        .iter()
        .map(|seen| parts(seen.get("traceparent").expect("a parent")).1)
        .collect();
    assert_eq!(ids, parents, "one try after another");
    assert!(clients.iter().all(|client| client.parent() == server.id()));
    assert_eq!(
        clients.iter().map(failed).collect::<Vec<_>>(),
        [true, true, false]
    );
    check(&clients[0], &[("error.type", "UC")]);
    check(
        &clients[1],
        &[("error.type", "503"), ("http.request.resend_count", "1")],
    );
    check(
        &clients[2],
        &[
            ("http.response.status_code", "200"),
            ("http.request.resend_count", "2"),
        ],
    );
    assert!(!failed(&server), "in the end it went well");
}

#[test]
fn a_body_that_is_sent_again_goes_below_the_new_try() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |exchange| {
        exchange.body()?;
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(After::Reset),
            _ => exchange.reply(200, "", "ok"),
        }
    });
    let receiver = Receiver::start();
    let setup = Setup::new()
        .top(&format!(
            "tracing: {{ sampling: 100, {} }}",
            receiver.otlp("grpc")
        ))
        .service("app", &[("stable", origin.addr())])
        .route(
            "app",
            "backendRefs: [{ name: app }], retry: { attempts: 2, on: [reset-before-request] }",
        );
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    client.send("PUT /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status(), 200);
    let (_, clients) = of_request(receiver.wait_for(3));
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    for (seen, client) in requests.iter().zip(&clients) {
        assert_eq!(
            parts(seen.get("traceparent").expect("a parent")).1,
            client.id()
        );
        assert_eq!(seen.data(), b"hello");
    }
}

#[test]
fn a_request_that_reaches_nobody_says_why() {
    let gone = ports::free();
    let receiver = Receiver::start();
    let section = format!("tracing: {{ sampling: 100, {} }}", receiver.otlp("grpc"));
    let setup = Setup::new()
        .top(&section)
        .service("app", &[("stable", gone)])
        .rules(
            "app",
            "hostnames: [shop.example]",
            &["backendRefs: [{ name: app }], retry: { attempts: 0 }"],
        );
    let weir = Weir::start(&setup);
    assert_eq!(ask(&weir, "").status(), 503);
    let (server, clients) = of_request(receiver.wait_for(2));
    check(
        &server,
        &[
            ("http.response.status_code", "503"),
            ("error.type", "503"),
            ("weir.flag", "UF"),
        ],
    );
    check(&clients[0], &[("error.type", "UF")]);
    assert!(failed(&server) && failed(&clients[0]));
    let why = clients[0].span.status.clone().expect("a status").message;
    assert!(why.contains("no connection"), "{why:?}");
    // What no route takes has a span of its own, and nothing below it.
    assert_eq!(weir.get("nobody.example", "/").status(), 404);
    let spans = receiver.wait_for(3);
    check(
        &spans[2],
        &[("http.response.status_code", "404"), ("weir.flag", "NR")],
    );
    assert_eq!(spans[2].span.name, "GET");
}

#[test]
fn spans_go_over_tls_to_a_receiver_that_the_machine_trusts_and_to_no_other() {
    let (authority, stranger) = (Authority::new("trusted"), Authority::new("stranger"));
    let identity = authority.server(&["localhost"]);
    let tls = acceptor(&identity, &["h2", "http/1.1"], None);
    let receiver = Receiver::with_tls(Some(TlsAcceptor::from(tls)));
    let dir = tempfile::tempdir().expect("a directory");
    let trusted = authority.write(dir.path(), "trusted");
    let strange = stranger.write(dir.path(), "strange");
    let origin = Origin::ok("app");
    for (authorities, protocol, reaches) in [
        (&trusted, "grpc", true),
        (&trusted, "http", true),
        (&strange, "grpc", false),
    ] {
        let before = receiver.spans().len();
        let endpoint = format!("https://localhost:{}", receiver.addr().port());
        let setup = traced(
            &origin,
            &format!("sampling: 100, otlp: {{ endpoint: \"{endpoint}\", protocol: {protocol} }}"),
        );
        let weir = Weir::start_with(
            |ports| setup.render(ports),
            |command| {
                command
                    .env("SSL_CERT_FILE", authorities)
                    .env_remove("SSL_CERT_DIR");
            },
        );
        assert_eq!(ask(&weir, "").status(), 200);
        if reaches {
            receiver.wait_for(before + 2);
        } else {
            eventually("spans that were not sent", || {
                (weir.metric("weir_spans_dropped_total", &["unsent"]) == 2.0).then_some(())
            });
            assert_eq!(receiver.spans().len(), before);
            let said = weir.stderr();
            assert!(said.contains("spans cannot be exported"), "{said}");
        }
    }
}

#[test]
fn a_client_that_speaks_tls_and_http_2_is_told_of_in_span_and_log() {
    let authority = Authority::new("clients and servers");
    let dir = tempfile::tempdir().expect("a directory");
    let server = authority
        .server(&["shop.example"])
        .write(dir.path(), "server");
    let ca = authority.write(dir.path(), "ca");
    let origin = Origin::ok("app");
    let receiver = Receiver::start();
    let tls = format!(
        "tls: {{ certificates: [{{ cert: \"{}\", key: \"{}\" }}], clientAuth: {{ mode: optional, ca: \"{}\" }} }}",
        server.cert.display(),
        server.key.display(),
        ca.display()
    );
    let setup = traced(&origin, &format!("sampling: 0, {}", receiver.otlp("grpc")));
    let setup = setup.protocol("https").listener(&tls).access_log("json");
    let weir = Weir::start(&setup);
    let identity = authority.client(&["alice.example"]);
    let offer = Offer {
        roots: Some(authority.roots()),
        alpn: &["h2"],
        client: Some(&identity),
        ..Offer::default()
    };
    let client = h2::Client::connect_tls(weir.addr(), &Connector::new("shop.example", &offer));
    let mut request = client.request(Method::GET, "shop.example", "/cart?secret=1");
    let parent = format!("00-{TRACE}-{SPAN}-01").parse().expect("a value");
    request.headers_mut().insert("traceparent", parent);
    assert_eq!(client.exchange(request, b"").status, 200);
    let (server, clients) = of_request(receiver.wait_for(2));
    check(
        &server,
        &[
            ("url.scheme", "https"),
            ("url.path", "/cart"),
            ("server.address", "shop.example"),
            ("server.port", "443"),
            ("network.protocol.version", "2"),
        ],
    );
    assert_eq!(
        (server.trace(), server.parent()),
        (TRACE.into(), SPAN.into())
    );
    let at_origin = origin.only();
    let (_, parent, _) = parts(at_origin.get("traceparent").expect("a parent"));
    assert_eq!(parent, clients[0].id());
    let line: Value = eventually("a line of the log", || {
        serde_json::from_str(weir.stdout().lines().next()?).ok()
    });
    for (key, value) in [
        ("trace_id", TRACE),
        ("span_id", &server.id()),
        ("protocol", "HTTP/2"),
        ("tls", "TLSv1.3"),
        ("sni", "shop.example"),
        ("alpn", "h2"),
        ("peer_san", "alice.example"),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
}

#[test]
fn calls_tell_how_they_ended_whoever_ended_them_and_in_each_try() {
    let count = AtomicUsize::new(0);
    let origin = h2::Origin::start(move |_| {
        let mut reply = h2::Reply::default();
        let kind = HeaderValue::from_static("application/grpc");
        reply.response.headers_mut().insert("content-type", kind);
        let status = HeaderValue::from_static("14");
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => {
                reply.body.clear();
                reply.response.headers_mut().insert("grpc-status", status);
            }
            _ => {
                let name = HeaderName::from_static("grpc-status");
                reply.trailers = Some([(name, status)].into_iter().collect());
            }
        }
        reply
    });
    let receiver = Receiver::start();
    let setup = Setup::new()
        .service_with("app", &[("stable", origin.addr())], "appProtocol: h2c")
        .rules(
            "shop",
            "",
            &["matches: [{ grpc: { service: shop.Cart } }], retry: { attempts: 1, on: [unavailable] }, backendRefs: [{ name: app }]"],
        )
        .top(&format!("tracing: {{ sampling: 100, {} }}", receiver.otlp("grpc")));
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    let _ = grpc::call(&client, "/shop.Cart/Add", &[b"x"], &[]);
    let (server, clients) = of_request(receiver.wait_for(3));
    let unavailable = [
        ("rpc.system", "grpc"),
        ("rpc.grpc.status_code", "14"),
        ("http.response.status_code", "200"),
        ("error.type", "UNAVAILABLE"),
    ];
    assert_eq!(clients.len(), 2);
    for span in clients.iter().chain([&server]) {
        check(span, &unavailable);
        assert!(failed(span));
    }
    // One that nobody takes.
    let _ = grpc::call(&client, "/none.Of/These", &[b"x"], &[]);
    let server = receiver.wait_for(4).pop().expect("a span");
    check(
        &server,
        &[
            ("rpc.grpc.status_code", "12"),
            ("error.type", "UNIMPLEMENTED"),
            ("weir.flag", "NR"),
        ],
    );
    assert!(failed(&server));
    let _ = client.get("shop.example", "/");
    let server = receiver.wait_for(5).pop().expect("a span");
    assert_eq!(server.get("rpc.system"), None);
}

#[test]
fn what_is_recorded_before_the_end_arrives() {
    let origin = Origin::ok("app");
    let receiver = Receiver::start();
    let mut weir = Weir::start(&traced(
        &origin,
        &format!("sampling: 100, {}", receiver.otlp("grpc")),
    ));
    ask(&weir, "");
    weir.signal(Signal::TERM);
    weir.wait_exit();
    assert_eq!(receiver.spans().len(), 2, "{}", weir.logs());
}
