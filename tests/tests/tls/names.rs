//! Which certificate a client is shown, and what is agreed on besides.

use rustls::version::{TLS12, TLS13};
use weir_tests::tls::{Connector, Offer};
use weir_tests::weir::Weir;

use super::{Site, ask};

#[test]
fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let site = Site::new();
    let default = site.authority.server(&["default.example"]);
    let exact = site.authority.server(&["a.example.com"]);
    let wildcard = site.authority.server(&["*.example.com"]);
    let longer = site.authority.server(&["*.b.example.com"]);
    let weir = Weir::start(&site.setup(&[&default, &exact, &wildcard, &longer], ""));
    for (name, expected) in [
        ("a.example.com", &exact),
        ("A.Example.COM", &exact),
        ("c.example.com", &wildcard),
        ("x.b.example.com", &longer),
        // A wildcard stands for one label.
        ("x.c.example.com", &default),
        ("x.y.b.example.com", &default),
        ("example.com", &default),
        ("example.org", &default),
        // An address is not sent as a name.
        ("127.0.0.1", &default),
    ] {
        let got = ask(&weir, &Connector::blind(name, &[]), name).unwrap();
        assert_eq!(got.session.peer.first(), Some(expected.leaf()), "{name}");
        assert_eq!(got.status, Some(200));
    }
    let trusting = Connector::trusting(&site.authority, "c.example.com", &[]);
    assert_eq!(
        ask(&weir, &trusting, "c.example.com").unwrap().status,
        Some(200)
    );
}

#[test]
fn versions_and_protocols_are_agreed_on_and_sessions_resumed() {
    let site = Site::new();
    let identity = site.authority.server(&["a.example.com"]);
    let weir = Weir::start(&site.setup(&[&identity], ""));
    for version in [&TLS12, &TLS13] {
        for (offered, agreed) in [(&["http/1.1"][..], Some("http/1.1")), (&[], None)] {
            let offer = Offer {
                roots: Some(site.authority.roots()),
                alpn: offered,
                versions: &[version],
                ..Offer::default()
            };
            let tls = Connector::new("a.example.com", &offer);
            for resumed in [false, true] {
                let session = ask(&weir, &tls, "a.example.com").unwrap().session;
                assert_eq!(session.version, Some(version.version));
                assert_eq!(session.alpn.as_deref(), agreed);
                assert_eq!(session.resumed, resumed, "{version:?}");
            }
        }
    }
    let offer = Offer {
        alpn: &["spdy/3"],
        ..Offer::default()
    };
    let error = ask(
        &weir,
        &Connector::new("a.example.com", &offer),
        "a.example.com",
    );
    assert!(error.err().unwrap().contains("NoApplicationProtocol"));
    let counted = |result| weir.metric("weir_tls_handshakes_total", &["listener=\"web\"", result]);
    assert_eq!(counted("result=\"ok\""), 4.0);
    assert_eq!(counted("result=\"resumed\""), 4.0);
    assert_eq!(counted("result=\"incompatible\""), 1.0);
}

#[test]
fn a_minimum_version_holds() {
    let site = Site::new();
    let identity = site.authority.server(&["a.example.com"]);
    let weir = Weir::start(&site.setup(&[&identity], "minVersion: \"1.3\""));
    for (version, good) in [(&TLS12, false), (&TLS13, true)] {
        let offer = Offer {
            versions: &[version],
            ..Offer::default()
        };
        let got = ask(
            &weir,
            &Connector::new("a.example.com", &offer),
            "a.example.com",
        );
        assert_eq!(got.is_ok(), good, "{version:?}");
    }
}
