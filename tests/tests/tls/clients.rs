//! Certificates of clients, by host, and ways around them that are closed.

use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use weir_tests::config::Setup;
use weir_tests::pki::{Authority, Identity};
use weir_tests::tls::{Connector, Offer};
use weir_tests::weir::Weir;

use super::{Site, ask, status};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// `open.example.com` asks for nothing, `may` for a certificate or none, `must` for one.
fn by_host(site: &Site) -> Setup {
    let identity = site.authority.server(&["*.example.com"]);
    let ca = site.authority.write(site.dir.path(), "clients");
    let ca = ca.display();
    let host = |name: &str, mode: &str| {
        format!(
            "{{ hostnames: [{name}.example.com], clientAuth: {{ mode: {mode}, ca: \"{ca}\" }} }}"
        )
    };
    let hosts = [host("must", "require"), host("may", "optional")];
    site.setup(&[&identity], &format!("hosts: [{}]", hosts.join(", ")))
}

fn bearer(
    name: &str,
    client: Option<&Identity>,
    version: &'static SupportedProtocolVersion,
) -> Connector {
    let offer = Offer {
        client,
        versions: &[version],
        ..Offer::default()
    };
    Connector::new(name, &offer)
}

#[test]
fn certificates_are_asked_of_clients_by_host() {
    let site = Site::new();
    let weir = Weir::start(&by_host(&site));
    let good = site.authority.client(&["spiffe://example.com/shop"]);
    let foreign = Authority::new("another").client(&["x"]);
    let expired = site.authority.expired(&["x"]);
    let server = site.authority.server(&["x"]);
    for version in VERSIONS {
        for (host, client, served) in [
            ("open.example.com", None, true),
            ("may.example.com", None, true),
            ("may.example.com", Some(&good), true),
            ("may.example.com", Some(&foreign), false),
            ("must.example.com", None, false),
            ("must.example.com", Some(&good), true),
            ("must.example.com", Some(&foreign), false),
            ("must.example.com", Some(&expired), false),
            ("must.example.com", Some(&server), false),
        ] {
            let got = status(&weir, &bearer(host, client, version), host);
            let expected = served.then_some(Some(200));
            assert_eq!(got.clone().ok(), expected, "{host} {version:?} {got:?}");
        }
    }
    // Those that were refused reached nobody.
    assert_eq!(site.origin.count(), 8);
    let counted = |result: &str| weir.metric("weir_tls_handshakes_total", &[result]);
    assert_eq!(counted("result=\"no_cert\""), 2.0);
    assert_eq!(counted("result=\"bad_cert\""), 8.0);
}

#[test]
fn a_connection_for_one_host_is_no_way_into_another_that_asks_for_more() {
    let site = Site::new();
    let weir = Weir::start(&by_host(&site));
    let good = site.authority.client(&["x"]);
    for (name, host, expected) in [
        ("open.example.com", "open.example.com", 200),
        ("open.example.com", "other.example.com", 200),
        ("open.example.com", "must.example.com", 421),
        ("open.example.com", "MUST.example.com:8443", 421),
        ("open.example.com", "may.example.com", 421),
        ("open.example.com", "must.example.com.", 421),
        ("open.example.com", "MUST.example.com.:8443", 421),
        ("open.example.com", "open.example.com.", 200),
        ("may.example.com", "must.example.com", 421),
        ("must.example.com", "must.example.com", 200),
        ("must.example.com", "must.example.com.", 200),
        ("must.example.com", "open.example.com", 421),
        // Without a name.
        ("127.0.0.1", "open.example.com", 200),
        ("127.0.0.1", "must.example.com", 421),
        ("127.0.0.1", "must.example.com.", 421),
    ] {
        let tls = bearer(name, Some(&good), &TLS13);
        let got = status(&weir, &tls, host).unwrap();
        assert_eq!(got, Some(expected), "{name} asks for {host}");
    }
    assert_eq!(site.origin.count(), 6);
}

#[test]
fn a_session_of_one_host_is_not_resumed_into_another() {
    let site = Site::new();
    let weir = Weir::start(&by_host(&site));
    for version in VERSIONS {
        let mut tls = bearer("open.example.com", None, version);
        let mut config = (*tls.config).clone();
        config.resumption = Resumption::store(Arc::new(OneName::new()));
        tls.config = Arc::new(config);
        assert!(
            !ask(&weir, &tls, "open.example.com")
                .unwrap()
                .session
                .resumed
        );
        assert!(
            ask(&weir, &tls, "open.example.com")
                .unwrap()
                .session
                .resumed
        );
        let other = tls.to("other.example.com");
        assert!(
            !ask(&weir, &other, "other.example.com")
                .unwrap()
                .session
                .resumed
        );
        let must = tls.to("must.example.com");
        assert!(status(&weir, &must, "must.example.com").is_err());
    }
}

/// A client's sessions, all under one name: each is offered to every server.
#[derive(Debug)]
struct OneName {
    store: ClientSessionMemoryCache,
    name: ServerName<'static>,
}

impl OneName {
    fn new() -> Self {
        Self {
            store: ClientSessionMemoryCache::new(10),
            name: "one.name".try_into().unwrap(),
        }
    }
}

impl ClientSessionStore for OneName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.store.set_kx_hint(self.name.clone(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.kx_hint(&self.name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.store.set_tls12_session(self.name.clone(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.store.tls12_session(&self.name)
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.store.remove_tls12_session(&self.name);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.store.insert_tls13_ticket(self.name.clone(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.take_tls13_ticket(&self.name)
    }
}
