//! Policy is written once: what holds for requests of HTTP/1 holds for streams, and is seen as what it is.

use h2::Reason;
use http::{HeaderName, Method};
use weir_tests::config::Setup;
use weir_tests::h2::{Client, Response};
use weir_tests::origin::Origin;
use weir_tests::pki::Authority;
use weir_tests::program::Program;
use weir_tests::tls::Connector;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::support::{Ask, Got, Speaks, ask_h2, request, to};

fn get(client: &Client, path: &str, fields: &[(&str, &str)]) -> Got {
    let what = Ask {
        fields,
        ..Ask::of("GET", path)
    };
    ask_h2(client, &what)
}

fn canary(rule: &str) -> (Weir, Origin, Origin) {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let setup = Setup::new()
        .service("shop", &[("stable", stable.addr()), ("canary", canary.addr())])
        .rules("shop", "", &[
            "matches: [{ headers: [{ name: x-canary, value: always }] }], backendRefs: [{ name: shop, version: canary }]",
            &format!("backendRefs: [{{ name: shop, version: stable, weight: 75 }}, {{ name: shop, version: canary, weight: 25 }}]{rule}"),
        ]);
    (Weir::start(&setup), stable, canary)
}

#[test]
fn weights_hold_per_stream_of_one_connection_and_a_header_chooses() {
    let (weir, _stable, canary) = canary("");
    let client = weir.h2c();
    for _ in 0..100 {
        assert_eq!(get(&client, "/", &[]).status, 200);
    }
    assert_eq!(canary.count(), 25);
    let always = [("x-canary", "always")];
    assert!((0..10).all(|_| get(&client, "/", &always).get("x-origin") == Some("canary")));
}

#[test]
fn a_sticky_user_stays_with_a_version_over_connections_and_protocols() {
    let (weir, _stable, _canary) = canary(", sticky: { header: x-user }");
    let client = weir.h2c();
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..40 {
        let name = format!("user-{user}");
        let over_h2 = get(&client, "/", &[("x-user", &name)]);
        let version = over_h2.get("x-origin").map(str::to_owned);
        let again = get(&weir.h2c(), "/", &[("x-user", &name)]);
        assert_eq!(again.get("x-origin").map(str::to_owned), version);
        let ask = format!("GET / HTTP/1.1\r\nHost: a.example\r\nx-user: {name}\r\n\r\n");
        let over_h1 = weir.client().send(ask).response();
        assert_eq!(over_h1.get("x-origin").map(str::to_owned), version);
        seen.insert(version);
    }
    assert_eq!(seen.len(), 2, "both versions have users");
}

#[test]
fn filters_answer_and_edit_as_over_http1() {
    let origin = Origin::ok("app");
    let rules = [
        "matches: [{ path: { type: PathPrefix, value: /old } }], filters: [{ type: RequestRedirect, requestRedirect: { hostname: b.example, statusCode: 301 } }]",
        "matches: [{ path: { type: PathPrefix, value: /tea } }], filters: [{ type: DirectResponse, directResponse: { status: 418, body: short and stout } }]",
        "matches: [{ path: { type: PathPrefix, value: /limited } }], backendRefs: [{ name: app }], filters: [{ type: RateLimit, rateLimit: { requests: 1, per: 1h } }]",
        "backendRefs: [{ name: app }], filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Set, value: here }], remove: [x-gone] } }, { type: ResponseHeaderModifier, responseHeaderModifier: { add: [{ name: X-Answer, value: yes }] } }]",
    ];
    let setup = Setup::new()
        .service("app", &[("stable", origin.addr())])
        .rules("app", "", &rules);
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    let redirect = get(&client, "/old/x?q=1", &[]);
    assert_eq!(redirect.status, 301);
    let location = redirect.get("location").unwrap_or_default();
    assert!(
        location.starts_with("http://b.example") && location.ends_with("/old/x?q=1"),
        "{location}"
    );
    let tea = get(&client, "/tea", &[]);
    assert_eq!((tea.status, &tea.body[..]), (418, &b"short and stout"[..]));
    assert_eq!(get(&client, "/limited", &[]).status, 200);
    let limited = get(&client, "/limited", &[]);
    assert_eq!(limited.status, 429);
    assert!(limited.get("retry-after").is_some());
    origin.clear();
    let edited = get(&client, "/", &[("x-gone", "1"), ("x-kept", "2")]);
    assert_eq!(edited.get("x-answer"), Some("yes"));
    let seen = origin.only();
    assert_eq!(
        (seen.get("x-set"), seen.get("x-gone"), seen.get("x-kept")),
        (Some("here"), None, Some("2"))
    );
    assert_eq!(
        client
            .exchange(client.request(Method::HEAD, "a.example", "/tea"), b"")
            .body
            .len(),
        0
    );
}

#[test]
fn an_endpoint_is_told_of_the_client_and_not_what_the_client_says_of_itself() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin));
    let client = weir.h2c();
    let lies = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x-request-id", "mine"),
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    assert_eq!(get(&client, "/p?q", &lies).status, 200);
    let seen = origin.only();
    assert_eq!(
        (seen.method(), seen.target(), seen.get("host")),
        ("GET", "/p?q", Some("a.example"))
    );
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        (seen.get("x-forwarded-proto"), seen.get("x-forwarded-host")),
        (Some("http"), Some("a.example"))
    );
    assert_eq!(seen.get("x-real-ip"), Some("127.0.0.1"));
    assert_ne!(seen.get("x-request-id"), Some("mine"));
    assert_eq!(seen.head.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.get("te"), None);
}

/// Why a stream ended in place of an answer.
fn reason(refused: Result<Response, h2::Error>) -> Reason {
    let error = refused.expect_err("no answer to what is no request");
    error.reason().expect("a reset")
}

#[test]
fn a_host_beside_the_authority_must_be_the_same() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin));
    let client = weir.h2c();
    assert_eq!(get(&client, "/", &[("host", "a.example")]).status, 200);
    let other = Ask {
        fields: &[("host", "b.example")],
        ..Ask::of("GET", "/")
    };
    let refused = client.try_exchange(request(&client, &other), b"");
    assert_eq!(reason(refused), Reason::PROTOCOL_ERROR);
    assert_eq!(get(&client, "/", &[]).status, 200, "the connection goes on");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_get_with_a_body_and_paths_out_of_form_are_refused_as_over_http1() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin));
    let client = weir.h2c();
    let mut stream = client.open(client.request(Method::GET, "a.example", "/"), false);
    stream.send(b"body", true);
    assert_eq!(stream.response().status, 400);
    let mut stream = client.open(client.request(Method::GET, "a.example", "/"), false);
    stream.send(b"", true);
    assert_eq!(stream.response().status, 200, "an empty frame is no body");
    for path in ["/a%00b", "/%zz"] {
        assert_eq!(get(&client, path, &[]).status, 400, "{path}");
    }
    for (name, value) in [("x_forwarded_for", "1.2.3.4"), ("content.length", "5")] {
        let mut request = client.request(Method::GET, "a.example", "/");
        let name: HeaderName = name.parse().expect("a token");
        request
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
        assert_eq!(
            reason(client.try_exchange(request, b"")),
            Reason::PROTOCOL_ERROR
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_log_and_the_metrics_say_http2() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to(Speaks::H2, origin.addr()).access_log("json"));
    let client = weir.h2c();
    let what = Ask {
        body: b"hello",
        ..Ask::of("POST", "/p?q=1")
    };
    assert_eq!(ask_h2(&client, &what).status, 200);
    let line = eventually("a line", || weir.stdout().lines().next().map(str::to_owned));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["protocol"], &line["method"], &line["host"]),
        (&"HTTP/2".into(), &"POST".into(), &"a.example".into()),
        "{line}"
    );
    assert_eq!(
        (&line["status"], &line["attempts"]),
        (&200.into(), &1.into()),
        "{line}"
    );
    eventually("one request counted", || {
        let labels = ["protocol=\"HTTP/2\"", "service=\"app\""];
        (weir.metric("weir_requests_total", &labels) == 1.0).then_some(())
    });
    assert_eq!(weir.metric("weir_downstream_connections", &[]), 1.0);
}

#[test]
fn the_scheme_is_told_over_tls() {
    let origin = Origin::ok("app");
    let authority = Authority::new("all");
    let dir = tempfile::tempdir().expect("a directory");
    let files = authority.server(&["a.example"]).write(dir.path(), "a");
    let weir = Weir::start(&Setup::to(&origin).https(&[&files]));
    let client = weir.h2(&Connector::trusting(&authority, "a.example", &["h2"]));
    assert_eq!(client.get("a.example", "/").status, 200);
    assert_eq!(origin.only().get("x-forwarded-proto"), Some("https"));
}
