//! Who may ask what: rules against requests, over every version of HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use http::Method;
use weir_tests::config::Setup;
use weir_tests::grpc;
use weir_tests::pki::Identity;
use weir_tests::tls::{Connector, Offer};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::Site;

const WEB: &str = "spiffe://weir.local/svc/web";
const SHOP: &str = "spiffe://weir.local/svc/shop";

/// A listener that asks for certificates and takes clients without, under these policies.
pub(super) fn guarded(site: &Site, policies: &[&str]) -> Setup {
    let identity = site.authority.server(&["shop.example"]);
    let ca = site.authority.write(site.dir.path(), "clients");
    let auth = format!("clientAuth: {{ mode: optional, ca: \"{}\" }}", ca.display());
    let list: Vec<String> = policies
        .iter()
        .map(|policy| format!("{{ {policy} }}"))
        .collect();
    site.setup(&[&identity], &auth)
        .listener(&format!("authorization: [{}]", list.join(", ")))
        .access_log("json")
}

pub(super) fn bearer(client: Option<&Identity>, alpn: &[&str]) -> Connector {
    let offer = Offer {
        client,
        alpn,
        ..Offer::default()
    };
    Connector::new("shop.example", &offer)
}

/// The status of a head that is sent as it is.
pub(super) fn send(weir: &Weir, tls: &Connector, head: &str) -> u16 {
    let tcp = TcpStream::connect(weir.addr()).expect("connect");
    let mut channel = tls.connect(tcp).expect("shake hands");
    let text = format!("{head}\r\nConnection: close\r\n\r\n");
    channel.write_all(text.as_bytes()).expect("send");
    let mut answer = Vec::new();
    channel.read_to_end(&mut answer).expect("an answer");
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

pub(super) fn get(weir: &Weir, tls: &Connector, target: &str) -> u16 {
    send(
        weir,
        tls,
        &format!("GET {target} HTTP/1.1\r\nHost: shop.example"),
    )
}

/// Who asks: a name of a service, `two` names in one certificate, somebody with a certificate without any, or nobody known.
struct Callers {
    web: Identity,
    shop: Identity,
    two: Identity,
    nameless: Identity,
    foreign: Identity,
    nul: Identity,
}

impl Callers {
    fn new(site: &Site) -> Self {
        let of = |names: &[&str]| site.authority.client(names);
        Self {
            web: of(&[WEB]),
            shop: of(&[SHOP]),
            two: of(&[WEB, SHOP]),
            nameless: of(&["web.example"]),
            foreign: of(&["spiffe://other.local/svc/web"]),
            nul: of(&["spiffe://weir.local/svc/web\0"]),
        }
    }

    fn get(&self, name: &str) -> Option<&Identity> {
        match name {
            "web" => Some(&self.web),
            "shop" => Some(&self.shop),
            "two" => Some(&self.two),
            "nameless" => Some(&self.nameless),
            "foreign" => Some(&self.foreign),
            "nul" => Some(&self.nul),
            _ => None,
        }
    }
}

#[test]
fn rules_against_requests() {
    let site = Site::new();
    let callers = Callers::new(&site);
    let web_reads = "name: web-reads, action: allow, from: [web], methods: [GET], paths: [/api]";
    let known = "name: known, action: allow, from: ['*']";
    let not_admin = "name: not-admin, action: deny, paths: [/admin]";
    let but_web = "name: but-web, action: deny, notFrom: [web]";
    let exact = "name: exact, action: allow, paths: ['=/a']";
    let host = "name: host, action: allow, hosts: ['*.example']";
    let foreign = "name: domain, action: allow, from: ['spiffe://other.local/*']";
    let gold = "name: gold, action: allow, rules: [{ when: [{ key: 'request.headers[x-tier]', values: [gold] }] }]";
    let local = "name: local, action: allow, ipBlocks: [127.0.0.0/8]";
    let elsewhere = "name: elsewhere, action: deny, notIpBlocks: [10.0.0.0/8]";
    type Asked = (&'static str, &'static str, u16);
    let table: [(&[&str], &[Asked]); 11] = [
        (&[], &[("nobody", "GET /", 200)]),
        (
            &[web_reads],
            &[
                ("web", "GET /api", 200),
                ("web", "GET /api/x", 200),
                ("web", "GET /apix", 403),
                ("web", "POST /api", 403),
                ("shop", "GET /api", 403),
                ("two", "GET /api", 403),
                ("nameless", "GET /api", 403),
                ("foreign", "GET /api", 403),
                ("nul", "GET /api", 403),
                ("nobody", "GET /api", 403),
            ],
        ),
        (
            &[known],
            &[
                ("web", "GET /", 200),
                ("foreign", "GET /", 200),
                ("two", "GET /", 403),
                ("nameless", "GET /", 403),
                ("nobody", "GET /", 403),
            ],
        ),
        (
            &[not_admin],
            &[("nobody", "GET /", 200), ("web", "GET /admin/x", 403)],
        ),
        (
            &[known, not_admin],
            &[
                ("web", "GET /", 200),
                ("web", "GET /admin", 403),
                ("nobody", "GET /", 403),
            ],
        ),
        (
            &[but_web],
            &[
                ("web", "GET /", 200),
                ("shop", "GET /", 403),
                ("nobody", "GET /", 403),
            ],
        ),
        (
            &[exact],
            &[
                ("nobody", "GET /a", 200),
                ("nobody", "GET /a?b=/x", 200),
                ("nobody", "GET /a/b", 403),
            ],
        ),
        (&[host], &[("nobody", "GET /", 200)]),
        (
            &[foreign],
            &[("foreign", "GET /", 200), ("web", "GET /", 403)],
        ),
        (&[gold], &[("web", "GET /", 403)]),
        (&[local, elsewhere], &[("web", "GET /", 403)]),
    ];
    for (policies, asked) in table {
        let weir = Weir::start(&guarded(&site, policies));
        for (caller, request, expected) in asked {
            let tls = bearer(callers.get(caller), &[]);
            let head = format!("{request} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0");
            let got = send(&weir, &tls, &head);
            assert_eq!(got, *expected, "{policies:?}: {caller} asks {request}");
        }
    }
}

#[test]
fn the_path_that_is_judged_is_the_one_that_came_and_not_what_a_route_makes_of_it() {
    let site = Site::new();
    let rewritten = guarded(&site, &["name: in, action: allow, paths: [/in]"]);
    let rewritten = rewritten.rules(
        "rewrites",
        "",
        &["matches: [{ path: { type: PathPrefix, value: /in } }, { path: { type: PathPrefix, value: /out } }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /admin } } }], backendRefs: [{ name: app }]"],
    );
    let weir = Weir::start(&rewritten);
    let tls = bearer(None, &[]);
    assert_eq!(get(&weir, &tls, "/in/x"), 200);
    assert_eq!(site.origin.requests()[0].target(), "/admin/x");
    assert_eq!(get(&weir, &tls, "/out/x"), 403);
    assert_eq!(get(&weir, &tls, "/nowhere"), 403);
}

#[test]
fn every_way_of_asking_is_judged() {
    let site = Site::new();
    let web = site.authority.client(&[WEB]);
    let weir = Weir::start(&guarded(
        &site,
        &["name: web, action: allow, from: [web], paths: [/ok, /pkg.Service/Ok]"],
    ));
    let h1 = bearer(Some(&web), &["http/1.1"]);
    assert_eq!(get(&weir, &h1, "/ok"), 200);
    let upgrade = "GET /ws HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    let tcp = TcpStream::connect(weir.addr()).unwrap();
    let mut channel = h1.connect(tcp).unwrap();
    let text = format!("{upgrade}\r\nConnection: Upgrade\r\n\r\n");
    channel.write_all(text.as_bytes()).unwrap();
    let mut start = [0; 12];
    channel.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 403");
    // No proxy of this kind tunnels to a host that a client names.
    let connect = send(
        &weir,
        &h1,
        "CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443",
    );
    assert!(matches!(connect, 403 | 501), "{connect}");

    let h2 = bearer(Some(&web), &["h2"]);
    let client = weir.h2(&h2);
    let ask = |path: &str| {
        let request = client.request(Method::GET, "shop.example", path);
        client.exchange(request, b"").status
    };
    assert_eq!(
        (ask("/ok"), ask("/admin"), ask("/ok/../admin")),
        (200, 403, 403)
    );
    // A call of gRPC is told in its own words: PERMISSION_DENIED, without a body.
    let call = grpc::request(&client, "shop.example", "/pkg.Service/Secret", &[]);
    let refused = client.exchange(call, &grpc::frame(b"x"));
    assert_eq!(refused.status, 200);
    assert_eq!(refused.trailer("grpc-status"), Some("7"));
    assert!(refused.body.is_empty());
    // Another without a certificate on the same listener.
    let stranger = weir.h2(&bearer(None, &["h2"]));
    let request = stranger.request(Method::GET, "shop.example", "/ok");
    assert_eq!(stranger.exchange(request, b"").status, 403);
    assert_eq!(site.origin.count(), 2);
}

#[test]
fn a_refusal_is_told_counted_and_logged_and_the_connection_goes_on() {
    let site = Site::new();
    let web = site.authority.client(&[WEB]);
    let weir = Weir::start(&guarded(
        &site,
        &[
            "name: web, action: allow, from: [web]",
            "name: no-admin, action: deny, paths: [/admin]",
        ],
    ));
    let mut client = weir.tls(&bearer(Some(&web), &[]));
    let refused = client.get("shop.example", "/admin");
    assert_eq!(refused.status(), 403);
    assert!(refused.text().contains("may not"), "{}", refused.text());
    assert_eq!(client.get("shop.example", "/").status(), 200);
    assert_eq!(
        weir.tls(&bearer(None, &[]))
            .get("shop.example", "/")
            .status(),
        403
    );
    let counted = |labels: &[&str]| weir.metric("weir_authorization_total", labels);
    let by = |policy: &str, result: &str| {
        let labels = [
            "listener=\"web\"".to_owned(),
            format!("policy=\"{policy}\""),
            format!("result=\"{result}\""),
            "mode=\"enforce\"".to_owned(),
        ];
        counted(&labels.each_ref().map(String::as_str))
    };
    assert_eq!(by("no-admin", "refused"), 1.0);
    assert_eq!(by("web", "admitted"), 1.0);
    assert_eq!(by("", "refused"), 1.0);
    weir.counts("weir_requests_total", &["flag=\"AZ\""], 2.0);
    let lines: Vec<serde_json::Value> = eventually("three lines of the log", || {
        let lines: Vec<serde_json::Value> = weir
            .stdout()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() == 3).then_some(lines)
    });
    let said = |at: usize| {
        let line: &serde_json::Value = &lines[at];
        (
            line["flags"].clone(),
            line["policy"].clone(),
            line["peer_san"].clone(),
        )
    };
    assert_eq!(said(0), ("AZ".into(), "no-admin".into(), WEB.into()));
    assert_eq!(said(1), ("-".into(), serde_json::Value::Null, WEB.into()));
    assert_eq!(
        said(2),
        (
            "AZ".into(),
            serde_json::Value::Null,
            serde_json::Value::Null
        )
    );
}

#[test]
fn what_is_for_the_log_refuses_nobody_and_is_counted() {
    let site = Site::new();
    let weir = Weir::start(&guarded(
        &site,
        &[
            "name: trial, action: allow, from: [web], mode: log",
            "name: watch, action: audit, paths: [/admin]",
            "name: closed, action: deny, paths: [/closed]",
        ],
    ));
    let tls = bearer(None, &[]);
    assert_eq!(get(&weir, &tls, "/admin"), 200);
    assert_eq!(get(&weir, &tls, "/closed"), 403);
    let counted = |result: &str, mode: &str| {
        let (result, mode) = (format!("result=\"{result}\""), format!("mode=\"{mode}\""));
        weir.metric("weir_authorization_total", &[&result, &mode])
    };
    assert_eq!(counted("admitted", "enforce"), 1.0);
    assert_eq!(counted("refused", "enforce"), 1.0);
    assert_eq!(counted("refused", "log"), 2.0);
    assert_eq!(counted("audited", "log"), 1.0);
}

#[test]
fn rules_that_change_hold_for_the_next_request_of_a_connection() {
    let site = Site::new();
    let open = guarded(&site, &["name: open, action: deny, paths: [/never]"]);
    let closed = guarded(&site, &["name: closed, action: deny"]);
    let weir = Weir::start(&open);
    let mut client = weir.tls(&bearer(None, &[]));
    assert_eq!(client.get("shop.example", "/").status(), 200);
    weir.apply(&closed);
    eventually("the rules to change", || {
        (client.get("shop.example", "/").status() == 403).then_some(())
    });
}

#[test]
fn an_explanation_says_who_would_be_refused() {
    let site = Site::new();
    let weir = Weir::start(&guarded(&site, &["name: web, action: allow, from: [web]"]));
    let explain = |more: &[&str]| {
        let args = [&["explain", "GET", "https://shop.example/"], more].concat();
        let output = weir.cli(&args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let refused = explain(&[]);
    assert!(
        refused.contains("403") && refused.contains("no policy admits it"),
        "{refused}"
    );
    let admitted = explain(&["--identity", WEB]);
    // Elsewhere in it are ports, which may be of any digits.
    assert!(admitted.starts_with("forwarded to app"), "{admitted}");
}

#[test]
fn a_session_that_is_taken_up_again_is_its_bearers_still() {
    let site = Site::new();
    let (web, shop) = (
        site.authority.client(&[WEB]),
        site.authority.client(&[SHOP]),
    );
    let weir = Weir::start(&guarded(&site, &["name: web, action: allow, from: [web]"]));
    for (client, expected) in [(Some(&web), 200), (Some(&shop), 403), (None, 403)] {
        let tls = bearer(client, &[]);
        for _ in 0..3 {
            assert_eq!(get(&weir, &tls, "/"), expected);
        }
    }
    let resumed = weir.metric("weir_tls_handshakes_total", &["result=\"resumed\""]);
    assert!(resumed >= 3.0, "{resumed} sessions were taken up again");
}
