//! Gateway API precedence, and the statuses where nothing can answer.

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::weir::Weir;

/// A rule that answers with its own name.
fn rule(name: &str, matches: &str) -> String {
    format!(
        "matches: [{matches}], filters: [{{ type: DirectResponse, directResponse: {{ status: 200, body: {name} }} }}]"
    )
}

fn setup() -> Setup {
    let path = |kind: &str, value: &str| format!("path: {{ type: {kind}, value: \"{value}\" }}");
    let all = rule("host-exact", &format!("{{ {} }}", path("PathPrefix", "/")));
    let wide = rule("host-wild", &format!("{{ {} }}", path("PathPrefix", "/")));
    let deep = rule(
        "host-deep-wild",
        &format!("{{ {} }}", path("PathPrefix", "/")),
    );
    let any = rule("any-host", &format!("{{ {} }}", path("PathPrefix", "/")));
    let rules = [
        rule("prefix-root", &format!("{{ {} }}", path("PathPrefix", "/"))),
        rule(
            "prefix-api",
            &format!("{{ {} }}", path("PathPrefix", "/api")),
        ),
        rule(
            "prefix-api-v2",
            &format!("{{ {} }}", path("PathPrefix", "/api/v2/")),
        ),
        rule("exact-api", &format!("{{ {} }}", path("Exact", "/api"))),
        rule(
            "regex",
            &format!("{{ {} }}", path("RegularExpression", "/api/.*|/re/[0-9]+")),
        ),
        rule(
            "api-post",
            &format!("{{ {}, method: POST }}", path("PathPrefix", "/api")),
        ),
        rule(
            "api-header",
            &format!(
                "{{ {}, headers: [{{ name: X-A, value: one }}] }}",
                path("PathPrefix", "/api")
            ),
        ),
        rule(
            "api-headers",
            &format!(
                "{{ {}, headers: [{{ name: X-A, value: one }}, {{ name: x-b, type: RegularExpression, value: \"t.o\" }}] }}",
                path("PathPrefix", "/api")
            ),
        ),
        rule(
            "api-query",
            &format!(
                "{{ {}, queryParams: [{{ name: q, value: \"1\" }}] }}",
                path("PathPrefix", "/api")
            ),
        ),
        rule(
            "either",
            "{ path: { type: Exact, value: /left } }, { path: { type: Exact, value: /right } }",
        ),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    Setup::new()
        .rules("table", "hostnames: [t.example]", &rules)
        .rules("exact", "hostnames: [a.b.example]", &[&all])
        .rules("wide", "hostnames: [\"*.example\"]", &[&wide])
        .rules("deep", "hostnames: [\"*.b.example\"]", &[&deep])
        .rules("any", "", &[&any])
        .rules(
            "tie-b",
            "hostnames: [tie.example]",
            &[&rule("tie-b", "{ path: { type: Exact, value: /t } }")],
        )
        .rules(
            "tie-a",
            "hostnames: [tie.example]",
            &[&rule("tie-a", "{ path: { type: Exact, value: /t } }")],
        )
}

// semantics 29
#[test]
fn the_most_specific_rule_answers() {
    let weir = Weir::start(&setup());
    let cases = [
        // Hosts: exact over the longest wildcard over the shorter one over none.
        ("GET", "a.b.example", "/", "", "host-exact"),
        ("GET", "A.B.Example:8080", "/", "", "host-exact"),
        ("GET", "x.b.example", "/", "", "host-deep-wild"),
        ("GET", "y.x.b.example", "/", "", "host-deep-wild"),
        ("GET", "b.example", "/", "", "host-wild"),
        ("GET", "example", "/", "", "any-host"),
        ("GET", "127.0.0.1", "/", "", "any-host"),
        ("GET", "xexample", "/", "", "any-host"),
        // Paths: exact, longest prefix of whole segments, regular expression.
        ("GET", "t.example", "/api", "", "exact-api"),
        ("GET", "t.example", "/api/", "", "prefix-api"),
        ("GET", "t.example", "/api/x", "", "prefix-api"),
        ("GET", "t.example", "/apix", "", "prefix-root"),
        ("GET", "t.example", "/api/v2", "", "prefix-api-v2"),
        ("GET", "t.example", "/api/v2/x", "", "prefix-api-v2"),
        ("GET", "t.example", "/api/v22", "", "prefix-api"),
        ("GET", "t.example", "/API", "", "prefix-root"),
        // Then method, headers, query parameters.
        ("POST", "t.example", "/api/x", "", "api-post"),
        (
            "POST",
            "t.example",
            "/api/x?q=1",
            "X-A: one\r\n",
            "api-post",
        ),
        ("GET", "t.example", "/api/x", "x-a: one\r\n", "api-header"),
        ("GET", "t.example", "/api/x", "x-a: One\r\n", "prefix-api"),
        (
            "GET",
            "t.example",
            "/api/x",
            "X-A: one\r\nX-B: two\r\n",
            "api-headers",
        ),
        (
            "GET",
            "t.example",
            "/api/x",
            "X-A: one\r\nX-B: twoo\r\n",
            "api-header",
        ),
        ("GET", "t.example", "/api/x?q=1", "", "api-query"),
        ("GET", "t.example", "/api/x?q=2", "", "prefix-api"),
        (
            "GET",
            "t.example",
            "/api/x?p=0&q=1",
            "x-a: one\r\n",
            "api-header",
        ),
        (
            "GET",
            "t.example",
            "/api/v2/x?q=1",
            "X-A: one\r\nX-B: two\r\n",
            "prefix-api-v2",
        ),
        ("GET", "t.example", "/left", "", "either"),
        ("GET", "t.example", "/right", "", "either"),
        ("GET", "t.example", "/left/", "", "prefix-root"),
        // Ties: the name of the route, as both are of the same age.
        ("GET", "tie.example", "/t", "", "tie-a"),
    ];
    let mut wrong = Vec::new();
    for (method, host, target, fields, want) in cases {
        let mut client = weir.client();
        let got = client
            .send(format!(
                "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
            ))
            .response();
        if got.text() != want {
            wrong.push(format!(
                "{method} {host}{target} {fields:?}: {} {:?}, expected {want}",
                got.status(),
                got.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// semantics 29: a prefix beats a regular expression, which beats only what is less specific still.
#[test]
fn a_regular_expression_answers_where_no_path_does() {
    let only = |name: &str, matches: &str| rule(name, matches);
    let setup = Setup::new().rules(
        "re",
        "hostnames: [re.example]",
        &[
            &only(
                "regex",
                "{ path: { type: RegularExpression, value: \"/re/[0-9]+\" } }",
            ),
            &only("prefix", "{ path: { type: PathPrefix, value: /pre } }"),
        ],
    );
    let weir = Weir::start(&setup);
    for (target, status, body) in [
        ("/re/12", 200, "regex"),
        ("/re/12x", 404, ""),
        ("/x/re/12", 404, ""),
        ("/pre/1", 200, "prefix"),
        ("/", 404, ""),
    ] {
        let response = weir.get("re.example", target);
        assert_eq!(response.status(), status, "{target}");
        if status == 200 {
            assert_eq!(response.text(), body, "{target}");
        }
    }
}

// semantics 29
#[test]
fn nothing_that_matches_is_404_no_endpoint_503() {
    let origin = Origin::ok("one");
    let setup = Setup::new()
        .service("app", &[("stable", origin.addr())])
        .service("empty", &[])
        .rules(
            "app",
            "hostnames: [app.example]",
            &["matches: [{ path: { value: /only } }], backendRefs: [{ name: app }]"],
        )
        .rules(
            "empty",
            "hostnames: [empty.example]",
            &["backendRefs: [{ name: empty }]"],
        );
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    for (host, target, status) in [
        ("app.example", "/only", 200),
        ("app.example", "/other", 404),
        ("other.example", "/only", 404),
        ("empty.example", "/", 503),
        ("app.example", "/only/x", 200),
    ] {
        assert_eq!(client.get(host, target).status(), status, "{host}{target}");
    }
}

// semantics 29, 38
#[test]
fn a_reference_to_no_service_at_all_is_500_or_reported_and_never_somebody_elses_answer() {
    let origin = Origin::ok("other");
    let good = Setup::new()
        .service("app", &[("stable", origin.addr())])
        .rules(
            "app",
            "hostnames: [app.example]",
            &["backendRefs: [{ name: app }]"],
        );
    let weir = Weir::start(&good);
    let bad = good.clone().rules(
        "lost",
        "hostnames: [lost.example]",
        &["backendRefs: [{ name: nobody }]"],
    );
    weir.rewrite(&bad);
    weir_tests::wait::eventually("the missing service in the status, or 500", || {
        let lost = weir.get("lost.example", "/").status();
        let reported = weir.json("/api/v1/status").to_string().contains("nobody");
        (lost == 500 || (reported && lost == 404)).then_some(())
    });
    assert_eq!(weir.get("app.example", "/").status(), 200);
}

// semantics 24
#[test]
fn a_dead_version_fails_its_own_share_and_no_more() {
    let origin = Origin::ok("stable");
    let setup = Setup::new()
        .service("app", &[("stable", origin.addr()), ("canary", ports::free())])
        .route("app", "backendRefs: [{ name: app, version: stable, weight: 75 }, { name: app, version: canary, weight: 25 }]");
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    let statuses: Vec<u16> = (0..100)
        .map(|_| client.get("a.example", "/").status())
        .collect();
    let good = statuses.iter().filter(|&&s| s == 200).count();
    assert_eq!(good, 75, "{statuses:?}");
    assert!(
        statuses.iter().all(|s| [200, 502, 503].contains(s)),
        "{statuses:?}"
    );
}
