//! Which fields pass, which are ours, and whom to believe.

use std::net::{IpAddr, Ipv4Addr};

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin, Seen};
use weir_tests::weir::Weir;

/// Sends one GET with these fields, and tells what the origin saw of it.
fn through(weir: &Weir, origin: &Origin, fields: &str) -> Seen {
    origin.clear();
    let mut client = weir.client();
    let response = client
        .send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
        .response();
    assert_eq!(response.status(), 200, "{fields:?}");
    origin.only()
}

#[test]
fn fields_pass_byte_for_byte_in_order_and_case() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(&Setup::to(&origin));
    let seen = through(
        &weir,
        &origin,
        "X-One: 1\r\nx-TWO:2 \t\r\nX-One:  a, b \r\nCookie: a=b; c=\"d\"\r\nX-Obs: \u{e9}\r\nX-Empty:\r\n",
    );
    let ours: Vec<(&str, &str)> = seen
        .head
        .fields
        .iter()
        .filter(|(n, _)| {
            n.starts_with(['X', 'x', 'C']) && !n.to_ascii_lowercase().starts_with("x-forwarded")
        })
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .filter(|(n, _)| {
            !n.eq_ignore_ascii_case("x-request-id") && !n.eq_ignore_ascii_case("x-real-ip")
        })
        .collect();
    assert_eq!(
        ours,
        [
            ("X-One", "1"),
            ("x-TWO", "2"),
            ("X-One", "a, b"),
            ("Cookie", "a=b; c=\"d\""),
            ("X-Obs", "\u{c3}\u{a9}"),
            ("X-Empty", "")
        ]
    );
    assert_eq!(seen.get("host"), Some("a.example"));
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_stay_here() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-Public: 2\r\n\r\nOK",
        After::Keep,
    );
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, X-Hop ,  x-other\r\nX-Hop: 1\r\nX-OTHER: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: 3\r\n\r\n");
    let response = client.response();
    let seen = origin.only();
    for name in ["x-hop", "x-other", "keep-alive", "proxy-connection"] {
        assert_eq!(seen.get(name), None, "{name} passed to the origin");
    }
    assert_ne!(seen.get("te"), Some("gzip"));
    assert_eq!(seen.get("x-end"), Some("3"));
    for name in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(response.get(name), None, "{name} passed to the client");
    }
    assert_eq!(response.get("x-public"), Some("2"));
}

#[test]
fn connection_cannot_name_away_what_keeps_the_message_together() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(&Setup::to(&origin));
    for option in [
        "Content-Length",
        "Host",
        "X-Forwarded-For",
        "X-Request-Id",
        "Transfer-Encoding",
        "Forwarded",
    ] {
        origin.clear();
        let mut client = weir.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nConnection: {option}\r\n\r\nhello"));
        let status = client.response().status();
        if status == 200 {
            let seen = origin.only();
            assert_eq!(seen.data(), b"hello", "Connection: {option}");
            assert_eq!(seen.get("host"), Some("a.example"), "Connection: {option}");
            assert_eq!(
                seen.get("x-forwarded-for"),
                Some("127.0.0.1"),
                "Connection: {option}"
            );
        } else {
            assert_eq!(status, 400, "Connection: {option}");
        }
    }
}

#[test]
fn what_a_stranger_says_of_the_client_is_overwritten() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(&Setup::to(&origin));
    let lies = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;proto=https\r\nX-Request-Id: mine\r\n";
    let seen = through(&weir, &origin, lies);
    assert_eq!(seen.head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.head.all("x-forwarded-host"), ["a.example"]);
    assert!(
        seen.head
            .all("x-real-ip")
            .iter()
            .all(|ip| *ip == "127.0.0.1")
    );
    assert!(
        seen.head
            .all("forwarded")
            .iter()
            .all(|f| !f.contains("6.6.6.6"))
    );
    let ids = seen.head.all("x-request-id");
    assert!(
        ids.len() == 1 && ids[0] != "mine" && ids[0].len() >= 16,
        "{ids:?}"
    );
}

#[test]
fn every_request_has_its_own_id() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for _ in 0..20 {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let ids: std::collections::HashSet<String> = origin
        .requests()
        .iter()
        .filter_map(|seen| seen.get("x-request-id").map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn a_trusted_hop_is_believed_and_extended() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(&Setup::to(&origin).listener("trustedHops: 1"));
    let seen = through(
        &weir,
        &origin,
        "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Request-Id: mine-0123456789\r\n",
    );
    assert_eq!(
        seen.head.all("x-forwarded-for").join(", "),
        "203.0.113.7, 127.0.0.1"
    );
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.get("x-forwarded-host"), Some("shop.example"));
    assert_eq!(seen.head.all("x-request-id"), ["mine-0123456789"]);
    let bare = through(&weir, &origin, "");
    assert_eq!(bare.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(bare.get("x-forwarded-proto"), Some("http"));
    assert!(bare.get("x-request-id").is_some_and(|id| id.len() >= 16));
}

#[test]
fn trust_is_by_the_peers_address_where_networks_are_named() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(
        &Setup::to(&origin).listener("trustedHops: [\"127.0.0.5/32\", \"10.0.0.0/8\"]"),
    );
    let ask = |last: u8| {
        origin.clear();
        let mut client =
            Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), weir.addr());
        let response = client.send("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n").response();
        assert_eq!(response.status(), 200);
        let seen = origin.only();
        (
            seen.head.all("x-forwarded-for").join(", "),
            seen.get("x-forwarded-proto").map(str::to_owned),
        )
    };
    assert_eq!(
        ask(5),
        (
            "203.0.113.7, 127.0.0.5".to_owned(),
            Some("https".to_owned())
        )
    );
    assert_eq!(ask(6), ("127.0.0.6".to_owned(), Some("http".to_owned())));
}

#[test]
fn a_name_that_looks_like_ours_with_other_dashes_is_refused() {
    let origin = Origin::ok("never");
    let weir = Weir::start(&Setup::to(&origin));
    let names = [
        "X_Forwarded_For",
        "x-forwarded_for",
        "X.Forwarded.For",
        "X_Real_IP",
        "Content_Length",
        "Transfer_Encoding",
        "X_Request_Id",
        "x_forwarded_proto",
    ];
    for name in names {
        let mut client = weir.client();
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\n{name}: 6.6.6.6\r\n\r\n"
        ));
        assert_eq!(client.response().status(), 400, "{name}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn via_is_off_unless_asked_for() {
    let origin = Origin::ok("via");
    let quiet = Weir::start(&Setup::to(&origin));
    assert_eq!(quiet.get("a.example", "/").get("via"), None);
    assert_eq!(origin.only().get("via"), None);
    origin.clear();
    let open = Weir::start(&Setup::to(&origin).listener("via: true"));
    assert!(
        open.get("a.example", "/")
            .get("via")
            .is_some_and(|via| via.contains("weir"))
    );
    assert!(
        origin
            .only()
            .get("via")
            .is_some_and(|via| via.contains("weir"))
    );
}

#[test]
fn set_cookie_fields_stay_apart() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1, x\r\nSet-Cookie: b=2\r\n\r\n",
        After::Keep,
    );
    let weir = Weir::start(&Setup::to(&origin));
    assert_eq!(
        weir.get("a.example", "/").head.all("set-cookie"),
        ["a=1, x", "b=2"]
    );
}
