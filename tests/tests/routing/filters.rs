//! What a rule does to a request and its response.

use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

fn with_rule(origin: &Origin, matches: &str, filters: &str) -> Setup {
    Setup::new()
        .service("app", &[("stable", origin.addr())])
        .rules(
            "app",
            "",
            &[
                &format!(
                    "matches: [{matches}], filters: [{filters}], backendRefs: [{{ name: app }}]"
                ),
                "matches: [{ path: { type: Exact, value: /plain } }], backendRefs: [{ name: app }]",
            ],
        )
}

#[test]
fn header_modifiers_edit_both_ways() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: secret\r\nX-Keep: 1\r\nCache-Control: no-store\r\n\r\n",
        After::Keep,
    );
    let filters = "{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Env, value: prod }], add: [{ name: x-list, value: two }], remove: [x-secret] } }, \
                   { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: Cache-Control, value: max-age=60 }], add: [{ name: x-served-by, value: weir }], remove: [server] } }";
    let weir = Weir::start(&with_rule(&origin, "{ path: { value: /edit } }", filters));
    let mut client = weir.client();
    client.send("GET /edit HTTP/1.1\r\nHost: a.example\r\nX-ENV: dev\r\nx-env: test\r\nX-List: one\r\nX-Secret: s\r\n\r\n");
    let response = client.response();
    let seen = origin.only();
    assert_eq!(seen.head.all("x-env"), ["prod"]);
    assert_eq!(seen.head.all("x-list"), ["one", "two"]);
    assert_eq!(seen.get("x-secret"), None);
    assert_eq!(response.get("server"), None);
    assert_eq!(response.head.all("cache-control"), ["max-age=60"]);
    assert_eq!(
        (response.get("x-served-by"), response.get("x-keep")),
        (Some("weir"), Some("1"))
    );
    let plain = client.get("a.example", "/plain");
    assert_eq!(
        (plain.get("server"), plain.get("x-served-by")),
        (Some("secret"), None),
        "another rule edits nothing"
    );
}

#[test]
fn a_redirect_names_the_new_place() {
    let origin = Origin::ok("never");
    let cases = [
        (
            "scheme: https",
            "/r/x?q=1",
            302,
            "https://a.example/r/x?q=1",
        ),
        (
            "hostname: b.example, statusCode: 301",
            "/r/x",
            301,
            "http://b.example/r/x",
        ),
        (
            "path: { type: ReplaceFullPath, replaceFullPath: /new }, statusCode: 308",
            "/r/x?q=1",
            308,
            "http://a.example/new?q=1",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: /s }, statusCode: 307",
            "/r/x/y",
            307,
            "http://a.example/s/x/y",
        ),
        (
            "scheme: https, hostname: b.example, port: 8443",
            "/r",
            302,
            "https://b.example:8443/r",
        ),
    ];
    for (redirect, target, status, location) in cases {
        let filter = format!("{{ type: RequestRedirect, requestRedirect: {{ {redirect} }} }}");
        let setup = Setup::new().rules(
            "r",
            "",
            &[&format!(
                "matches: [{{ path: {{ value: /r }} }}], filters: [{filter}]"
            )],
        );
        let weir = Weir::start(&setup);
        let response = weir.get("a.example", target);
        assert_eq!(response.status(), status, "{redirect}");
        let got = response.get("location").unwrap_or_default();
        // The listener's own port may stand where the redirect names none (Gateway API, RequestRedirect.port).
        let port = format!(":{}", weir.addr().port());
        assert_eq!(got.replace(&port, ""), location, "{redirect}: {got}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn no_line_break_leaves_through_a_redirect() {
    let filter = "{ type: RequestRedirect, requestRedirect: { hostname: b.example } }";
    let weir = Weir::start(&Setup::new().rules("r", "", &[&format!("filters: [{filter}]")]));
    for target in [
        "/%0d%0aSet-Cookie:%20a=b",
        "/?%0d%0aSet-Cookie:%20a=b",
        "/x%0aY:%20z",
    ] {
        let response = weir.get("a.example", target);
        assert!([302, 400].contains(&response.status()), "{target}");
        assert_eq!(
            (response.get("set-cookie"), response.get("y")),
            (None, None),
            "{target}"
        );
        assert!(
            !response
                .get("location")
                .unwrap_or_default()
                .contains(['\r', '\n'])
        );
    }
}

#[test]
fn a_rewrite_changes_what_the_origin_is_asked() {
    let origin = Origin::ok("rewrite");
    let cases = [
        (
            "hostname: inner.example",
            "/r/x?q=1",
            "/r/x?q=1",
            "inner.example",
        ),
        (
            "path: { type: ReplaceFullPath, replaceFullPath: /one }",
            "/r/x?q=1",
            "/one?q=1",
            "a.example",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: /s }",
            "/r/x",
            "/s/x",
            "a.example",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: /s }",
            "/r",
            "/s",
            "a.example",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }",
            "/r/x",
            "/x",
            "a.example",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }",
            "/r",
            "/",
            "a.example",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: /s/ }",
            "/r/x",
            "/s/x",
            "a.example",
        ),
        (
            "hostname: inner.example, path: { type: ReplaceFullPath, replaceFullPath: /one }",
            "/r",
            "/one",
            "inner.example",
        ),
    ];
    for (rewrite, target, want, host) in cases {
        origin.clear();
        let filter = format!("{{ type: URLRewrite, urlRewrite: {{ {rewrite} }} }}");
        let weir = Weir::start(&with_rule(&origin, "{ path: { value: /r } }", &filter));
        assert_eq!(weir.get("a.example", target).status(), 200, "{rewrite}");
        let seen = origin.only();
        assert_eq!(
            (seen.target(), seen.get("host")),
            (want, Some(host)),
            "{rewrite} of {target}"
        );
        assert_eq!(seen.get("x-forwarded-host"), Some("a.example"), "{rewrite}");
    }
}

#[test]
fn a_direct_response_asks_nobody() {
    let filter = "{ type: DirectResponse, directResponse: { status: 418, body: short and stout, contentType: text/x-tea } }";
    let weir = Weir::start(&Setup::new().rules("tea", "", &[&format!("filters: [{filter}]")]));
    let mut client = weir.client();
    for method in ["GET", "POST", "HEAD", "GET"] {
        let response = client
            .send(format!(
                "{method} / HTTP/1.1\r\nHost: a.example\r\n{}\r\n",
                if method == "POST" {
                    "Content-Length: 0\r\n"
                } else {
                    ""
                }
            ))
            .response_to(method);
        assert_eq!(
            (response.status(), response.get("content-type")),
            (418, Some("text/x-tea")),
            "{method}"
        );
        assert_eq!(
            response.text(),
            if method == "HEAD" {
                ""
            } else {
                "short and stout"
            },
            "{method}"
        );
    }
    let with_body = client
        .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello")
        .response();
    assert_eq!(with_body.status(), 418);
    if !with_body.closes() {
        assert_eq!(
            client.get("a.example", "/").status(),
            418,
            "the unread body is not the next request"
        );
    }
}
