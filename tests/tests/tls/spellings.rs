//! Spellings of paths, hosts and methods, which are to get nobody past a rule.

use weir_tests::config::Setup;
use weir_tests::weir::Weir;

use super::Site;
use super::authorization::{bearer, get, guarded};

/// Ways to write a path that somebody behind might take for `/admin`.
const SPELLINGS: [&str; 26] = [
    "/admin",
    "/admin/",
    "/admin?x=1",
    "/admin/users",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/x/%2E./admin",
    "/%61dmin",
    "/a%64min",
    "/ADMIN",
    "/Admin/Users",
    "/admin;x=y",
    "/admin;x=y/users",
    "/admin%3bx",
    "/admin/;x",
    "/admin/.",
    "/admin/x/..",
    "/admin%2fusers",
    "/%2fadmin",
    "/admin%5cusers",
    "/x/..%2fadmin",
    "/%2561dmin",
    "/..;/admin",
    "/x;/..;/admin",
];

#[test]
fn no_spelling_of_a_path_gets_past_a_rule() {
    let site = Site::new();
    let deny = Weir::start(&guarded(
        &site,
        &["name: no-admin, action: deny, paths: [/admin]"],
    ));
    let tls = bearer(None, &[]);
    for path in SPELLINGS {
        for target in [path.to_owned(), format!("https://shop.example{path}")] {
            let status = get(&deny, &tls, &target);
            assert!(matches!(status, 400 | 403), "{target} got {status}");
        }
    }
    assert_eq!(site.origin.count(), 0);
    // An exact path is refused with what an endpoint may see behind it, too.
    let exact = Weir::start(&guarded(
        &site,
        &["name: no-admin, action: deny, paths: ['=/admin']"],
    ));
    for path in [
        "/admin/",
        "/admin;x",
        "/ADMIN",
        "/admin%3bx",
        "/x/%2e%2e/admin",
        "/admin/;x",
    ] {
        assert_eq!(get(&exact, &tls, path), 403, "{path}");
    }
    assert_eq!(get(&exact, &tls, "/admin/x"), 200);
}

#[test]
fn no_spelling_admits_to_what_a_rule_does_not_admit_to() {
    let site = Site::new();
    let weir = Weir::start(&guarded(
        &site,
        &["name: public, action: allow, paths: [/public, '*.css']"],
    ));
    let tls = bearer(None, &[]);
    assert_eq!(get(&weir, &tls, "/public/x"), 200);
    assert_eq!(get(&weir, &tls, "/x.css"), 200);
    assert_eq!(site.origin.count(), 2);
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..;/admin",
        "/public%2f..%2fadmin",
        "/publicadmin",
        "/PUBLIC/x",
        "/public;x",
        "/admin;x.css",
        "/admin%3Bx.css",
        "/admin%3bx.css",
        "/admin?x.css",
        "/admin#x.css",
        "/admin%00.css",
        "/admin%23.css/..",
    ] {
        let status = get(&weir, &tls, target);
        assert!(matches!(status, 400 | 403), "{target} got {status}");
    }
    assert_eq!(site.origin.count(), 2);
}

#[test]
fn no_spelling_of_a_host_or_a_method_gets_past_a_rule() {
    let site = Site::new();
    // In plain text, as over TLS another host than the one of the connection is refused before.
    let policy = "{ name: closed, action: deny, hosts: [Shop.Example], methods: [GET] }";
    let setup = Setup::to(&site.origin).listener(&format!("authorization: [{policy}]"));
    let weir = Weir::start(&setup);
    let ask = |head: &str| {
        let mut client = weir.client();
        client.send(format!("{head}\r\n\r\n")).response().status()
    };
    for head in [
        "GET / HTTP/1.1\r\nHost: shop.example",
        "GET / HTTP/1.1\r\nHost: SHOP.example",
        "GET / HTTP/1.1\r\nHost: shop.example:443",
        "GET / HTTP/1.1\r\nHost: shop.example.",
        "GET / HTTP/1.1\r\nHost: shop.example.:8443",
        "GET http://shop.example/ HTTP/1.1\r\nHost: shop.example",
        "GET http://SHOP.example:1/ HTTP/1.1\r\nHost: shop.example:1",
        "GET http://shop.example/ HTTP/1.1\r\nHost: open.example",
        "GET / HTTP/1.1\r\nHost: open.example\r\nHost: shop.example",
        "get / HTTP/1.1\r\nHost: shop.example",
        "Get / HTTP/1.1\r\nHost: shop.example",
    ] {
        let status = ask(head);
        assert!(matches!(status, 400 | 403), "{head:?} got {status}");
    }
    assert_eq!(site.origin.count(), 0);
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: open.example"), 200);
    let post = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0";
    assert_eq!(ask(post), 200);
}
