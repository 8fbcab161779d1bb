//! Request targets and the Host they go with.

use std::time::Duration;

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

#[test]
fn an_absolute_target_reaches_the_origin_as_a_path() {
    let origin = Origin::ok("absolute");
    let weir = Weir::start(&Setup::to(&origin));
    let cases = [
        (
            "GET http://a.example/p?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "/p?q=1",
            "a.example",
        ),
        (
            "GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "/",
            "a.example",
        ),
        (
            "GET http://a.example:8080/p HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
            "/p",
            "a.example:8080",
        ),
        (
            "GET http://A.Example/p HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "/p",
            "a.example",
        ),
    ];
    for (request, target, host) in cases {
        origin.clear();
        assert_eq!(
            weir.client().send(request).response().status(),
            200,
            "{request:?}"
        );
        let seen = origin.only();
        assert_eq!(seen.target(), target, "{request:?}");
        assert!(
            seen.get("host")
                .is_some_and(|h| h.eq_ignore_ascii_case(host)),
            "{:?}",
            seen.head
        );
    }
}

#[test]
fn a_host_that_leaves_room_for_doubt_is_refused() {
    let origin = Origin::ok("never");
    let weir = Weir::start(&Setup::to(&origin));
    let requests = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nhost: b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example:8x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example/path\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example?q\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a example\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET http://user:pw@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET http://a.example:x/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET http:///p HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ];
    for request in requests {
        let mut client = weir.client();
        let response = client.send(request).response();
        assert_eq!(response.status(), 400, "{request:?}");
        assert_eq!(client.closed(), b"", "{request:?}: the connection closes");
    }
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
}

#[test]
fn options_star_is_answered() {
    let origin = Origin::ok("star");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let response = client
        .send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .response();
    assert_eq!(response.status() / 100, 2);
    assert_eq!(
        client.get("a.example", "/").status(),
        200,
        "the connection goes on"
    );
}

#[test]
fn connect_is_refused_and_no_tunnel_opens() {
    let origin = Origin::ok("never");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send(format!(
        "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        origin.addr()
    ));
    let status = client.answer("CONNECT", Duration::from_secs(2)).status();
    assert!(matches!(status, Some(400 | 405 | 501)), "{status:?}");
    assert!(origin.tapes().concat().is_empty());
}

#[test]
fn the_query_passes_as_it_is() {
    let origin = Origin::ok("query");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for target in [
        "/?",
        "/?a=b&c=%2f%2F%00",
        "/p?a=/../x//y&%dd=%ee",
        "/?q=a+b;c,d'(e)*!$&z=[1]",
        "/?a?b=c?d",
    ] {
        origin.clear();
        assert_eq!(client.get("a.example", target).status(), 200, "{target}");
        assert_eq!(origin.only().target(), target);
    }
}

#[test]
fn the_method_is_case_sensitive_and_any_token_passes() {
    let origin = Origin::ok("method");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for method in ["get", "PATCH", "PROPFIND", "X-Custom!#$%&'*+.^_`|~9"] {
        origin.clear();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!(client.response().status(), 200, "{method}");
        assert_eq!(origin.only().method(), method);
    }
}
