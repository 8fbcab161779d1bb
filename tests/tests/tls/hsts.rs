//! What browsers are told of TLS, over TLS alone.

use std::time::Duration;

use weir_tests::client::Response;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::tls::Connector;
use weir_tests::weir::Weir;

use super::Site;

const HOST: &str = "a.example.com";
const FILTER: &str =
    "{ type: StrictTransportSecurity, strictTransportSecurity: { maxAge: 1h, preload: true } }";

fn told(response: &Response) -> Vec<&str> {
    response.head.all("strict-transport-security")
}

/// A rule that passes on, and two that answer by themselves.
fn rules(setup: Setup) -> Setup {
    let direct = format!(
        "matches: [{{ path: {{ value: /direct }} }}], filters: [{FILTER}, {{ type: DirectResponse, directResponse: {{ status: 200, body: hi }} }}]"
    );
    let moved = format!(
        "matches: [{{ path: {{ value: /moved }} }}], filters: [{FILTER}, {{ type: RequestRedirect, requestRedirect: {{ hostname: b.example.com }} }}]"
    );
    let passed = format!("filters: [{FILTER}], backendRefs: [{{ name: app }}]");
    setup.rules(
        "told",
        "hostnames: [a.example.com]",
        &[&direct, &moved, &passed],
    )
}

#[test]
fn every_answer_of_a_rule_says_it_once_over_tls_and_never_without() {
    let site = Site {
        // An endpoint that says something of its own.
        origin: Origin::start(|exchange| {
            exchange.body()?;
            exchange.reply(200, "Strict-Transport-Security: max-age=1\r\n", "OK")
        }),
        ..Site::new()
    };
    let identity = site.authority.server(&[HOST]);
    let secure = Weir::start(&rules(site.setup(&[&identity], "")));
    let plain = Weir::start(&rules(Setup::to(&site.origin)));
    let tls = Connector::trusting(&site.authority, HOST, &[]);
    let h2 = Connector::trusting(&site.authority, HOST, &["h2"]);
    for (path, status, passed_on) in [
        ("/", 200, true),
        ("/direct", 200, false),
        ("/moved", 302, false),
    ] {
        let response = secure.tls(&tls).get(HOST, path);
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(told(&response), ["max-age=3600; preload"], "{path}");
        let response = secure.h2(&h2).get(HOST, path);
        let value = response.get("strict-transport-security");
        assert_eq!(value, Some("max-age=3600; preload"), "{path} over HTTP/2");
        let response = plain.get(HOST, path);
        // Without TLS it is not ours to say, nor to take away.
        let expected: &[&str] = if passed_on { &["max-age=1"] } else { &[] };
        assert_eq!(told(&response), expected, "{path} without TLS");
    }
}

#[test]
fn errors_of_ours_say_it_as_any_other_answer_of_the_rule() {
    let site = Site::new();
    let slow = Origin::slow("slow", Duration::from_secs(10));
    let limit = "{ type: RateLimit, rateLimit: { requests: 1, per: 1h, burst: 1 } }";
    let fault =
        "{ type: FaultInjection, faultInjection: { abort: { status: 403, percent: 100 } } }";
    let rule = |path: &str, filters: &str, rest: &str| {
        format!("matches: [{{ path: {{ value: {path} }} }}], filters: [{FILTER}{filters}], {rest}")
    };
    let rules = [
        rule("/gone", "", "backendRefs: [{ name: gone }]"),
        rule(
            "/slow",
            "",
            "timeouts: { request: 50ms }, backendRefs: [{ name: slow }]",
        ),
        rule(
            "/held",
            &format!(", {limit}, {fault}"),
            "backendRefs: [{ name: app }]",
        ),
    ];
    let rules = |setup: Setup| {
        setup
            .service("gone", &[("stable", ports::free())])
            .service("slow", &[("stable", slow.addr())])
            .rules(
                "told",
                "hostnames: [a.example.com]",
                &rules.each_ref().map(String::as_str),
            )
    };
    let identity = site.authority.server(&[HOST]);
    let secure = Weir::start(&rules(site.setup(&[&identity], "")));
    let plain = Weir::start(&rules(Setup::to(&site.origin)));
    let tls = Connector::trusting(&site.authority, HOST, &[]);
    // The limit lets one pass, to the fault.
    for (path, status) in [
        ("/gone", 503),
        ("/slow", 504),
        ("/held", 403),
        ("/held", 429),
    ] {
        let response = secure.tls(&tls).get(HOST, path);
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(told(&response), ["max-age=3600; preload"], "{path}");
        let response = plain.get(HOST, path);
        assert_eq!(response.status(), status, "{path} without TLS");
        assert_eq!(told(&response), Vec::<&str>::new(), "{path} without TLS");
    }
    let h2 = Connector::trusting(&site.authority, HOST, &["h2"]);
    let call = secure.h2(&h2);
    let answer = weir_tests::grpc::request(&call, HOST, "/gone/Call", &[]);
    let answer = call.exchange(answer, b"");
    assert_eq!(
        (
            answer.trailer("grpc-status"),
            answer.get("strict-transport-security")
        ),
        (Some("14"), Some("max-age=3600; preload"))
    );
    // A host without a rule has nobody to say it.
    let stranger = secure.tls(&tls).get("b.example.com", "/");
    assert_eq!(told(&stranger), Vec::<&str>::new());
}
