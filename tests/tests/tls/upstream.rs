//! Endpoints that are called over TLS.

use std::net::SocketAddr;
use std::path::Path;

use weir_tests::config::Setup;
use weir_tests::h2;
use weir_tests::origin::{After, Origin};
use weir_tests::pki::{Authority, Identity};
use weir_tests::tls::acceptor;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// An origin over TLS that asks for a client's certificate where there is an authority for it.
fn origin(identity: &Identity, clients: Option<&Authority>) -> Origin {
    Origin::start_tls(acceptor(identity, &["http/1.1"], clients), |exchange| {
        exchange.body()?;
        exchange.reply(200, "", "OK")
    })
}

/// A service with this `tls`, and more keys.
fn setup(origin: &Origin, tls: &str, keys: &str) -> Setup {
    setup_to(origin.addr(), tls, keys)
}

/// For the name of the endpoints of these tests, by the authority in that file.
fn by(ca: &Path) -> String {
    let ca = ca.display();
    format!("validation: {{ caCertificates: [\"{ca}\"], hostname: shop.internal }}")
}

fn setup_to(endpoint: SocketAddr, tls: &str, keys: &str) -> Setup {
    let keys = format!("tls: {{ {tls} }}{keys}");
    Setup::new()
        .service_with("shop", &[("stable", endpoint)], &keys)
        .route("shop", "backendRefs: [{ name: shop }]")
}

#[test]
fn an_endpoint_is_verified_by_name_and_authority() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("endpoints");
    let ca = authority.write(dir.path(), "ca");
    let validation = by(&ca);
    for (what, identity, expected) in [
        ("good", authority.server(&["shop.internal"]), 200),
        ("wrong name", authority.server(&["cart.internal"]), 502),
        (
            "wrong authority",
            Authority::new("other").server(&["shop.internal"]),
            502,
        ),
        ("expired", authority.expired(&["shop.internal"]), 502),
        (
            "not yet valid",
            authority.not_yet_valid(&["shop.internal"]),
            502,
        ),
    ] {
        let origin = origin(&identity, None);
        let weir = Weir::start(&setup(&origin, &validation, ""));
        let status = weir.get("shop.example", "/").status();
        assert!(
            status == expected || (expected != 200 && status == 503),
            "{what}: {status}"
        );
        assert_eq!(origin.count(), usize::from(expected == 200), "{what}");
    }
}

#[test]
fn alternative_names_stand_in_place_of_the_hostname() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("endpoints");
    let ca = authority.write(dir.path(), "ca");
    let uri = "spiffe://example.org/shop";
    let identity = authority.signed(&["cart.internal", "*.wild.internal"], |params| {
        let uri = uri.try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
    });
    let origin = origin(&identity, None);
    for (name, good) in [
        ("type: URI, uri: \"spiffe://example.org/shop\"", true),
        ("type: URI, uri: \"spiffe://example.org/shopper\"", false),
        ("type: Hostname, hostname: cart.internal", true),
        ("type: Hostname, hostname: shop.internal", false),
        // Under the certificate's wildcard, which stands for one label.
        ("type: Hostname, hostname: a.wild.internal", true),
        ("type: Hostname, hostname: a.b.wild.internal", false),
        ("type: Hostname, hostname: wild.internal", false),
    ] {
        let validation = format!(
            "validation: {{ caCertificates: [\"{}\"], hostname: shop.internal, \
             subjectAltNames: [{{ {name} }}] }}",
            ca.display()
        );
        let weir = Weir::start(&setup(&origin, &validation, ""));
        let status = weir.get("shop.example", "/").status();
        assert_eq!(status == 200, good, "{name}: {status}");
    }
}

#[test]
fn a_client_certificate_is_shown_and_checks_use_the_same_settings() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("endpoints");
    let ca = authority.write(dir.path(), "ca");
    let own = authority
        .client(&["weir.internal"])
        .write(dir.path(), "own");
    let origin = origin(&authority.server(&["shop.internal"]), Some(&authority));
    let validation = by(&ca);
    let check = ", healthCheck: { http: { path: /healthz }, interval: 100ms, \
                 unhealthyThreshold: 1, healthyThreshold: 1 }";
    let certificate = format!(
        "{validation}, clientCertificate: {{ cert: \"{}\", key: \"{}\" }}",
        own.cert.display(),
        own.key.display()
    );
    for (tls, good) in [(&certificate, true), (&validation, false)] {
        let weir = Weir::start(&setup(&origin, tls, check));
        let verdict = match good {
            true => "status 200",
            false => "CertificateRequired",
        };
        eventually("a verdict of the check", || {
            let endpoints = weir.admin("/api/v1/endpoints").text();
            endpoints.contains(verdict).then_some(())
        });
        let status = weir.get("shop.example", "/").status();
        assert_eq!(status == 200, good, "{status}");
    }
}

#[test]
fn a_server_of_http_2_alone_is_spoken_to_so_whether_it_knows_alpn_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("endpoints");
    let ca = authority.write(dir.path(), "ca");
    let validation = by(&ca);
    let identity = authority.server(&["shop.internal"]);
    for alpn in [&["h2"][..], &[]] {
        for protocol in ["grpc", "h2c"] {
            let origin = h2::Origin::start_with(
                &::h2::server::Builder::new(),
                Some(acceptor(&identity, alpn, None)),
                |_| h2::Reply::default(),
            );
            let keys = format!(", appProtocol: {protocol}");
            let weir = Weir::start(&setup_to(origin.addr(), &validation, &keys));
            let status = weir.get("shop.example", "/").status();
            assert_eq!(status, 200, "{protocol} with {alpn:?}");
            assert_eq!(origin.count(), 1);
        }
    }
    // One that may speak either is asked in HTTP/1.1 where it says nothing.
    let origin = Origin::start_tls(acceptor(&identity, &[], None), |exchange| {
        exchange.body()?;
        exchange.reply(200, "", "OK")
    });
    let weir = Weir::start(&setup(&origin, &validation, ""));
    assert_eq!(weir.get("shop.example", "/").status(), 200);
}

#[test]
fn the_systems_authorities_are_believed_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("system"), Authority::new("other"));
    let (trusted, strange) = (
        authority.write(dir.path(), "trusted"),
        other.write(dir.path(), "strange"),
    );
    let nobody = dir.path().join("nobody.pem");
    std::fs::write(&nobody, "").unwrap();
    let system = "validation: { wellKnownCACertificates: System, hostname: shop.internal }";
    let named = "validation: { wellKnownCACertificates: System, hostname: sni.internal, \
                 subjectAltNames: [{ type: Hostname, hostname: shop.internal }] }";
    let origin = origin(&authority.server(&["shop.internal"]), None);
    let start = |tls: &str, authorities: &Path| {
        let setup = setup(&origin, tls, "");
        Weir::start_with(
            |ports| setup.render(ports),
            |command| {
                command
                    .env("SSL_CERT_FILE", authorities)
                    .env_remove("SSL_CERT_DIR");
            },
        )
    };
    for (tls, authorities, reason) in [
        (system, &trusted, None),
        (named, &trusted, None),
        (system, &strange, Some("UnknownIssuer")),
        (named, &strange, Some("UnknownIssuer")),
        (system, &nobody, Some("")),
        (named, &nobody, Some("")),
    ] {
        let before = origin.count();
        let weir = start(tls, authorities);
        let answer = weir.get("shop.example", "/");
        let good = reason.is_none();
        assert_eq!(answer.status(), if good { 200 } else { 503 }, "{tls}");
        assert_eq!(origin.count() - before, usize::from(good), "{tls}");
        let text = answer.text();
        assert!(reason.is_none_or(|reason| text.contains(reason)), "{text}");
    }
    // Authorities of its own stand in place of the system's.
    let own = by(&strange);
    let weir = start(&own, &trusted);
    assert_eq!(weir.get("shop.example", "/").status(), 503);
}

#[test]
fn sessions_towards_endpoints_are_resumed_within_a_service_alone() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("endpoints");
    let ca = authority.write(dir.path(), "ca");
    let identity = authority.server(&["shop.internal"]);
    // A connection serves one request.
    let origin = Origin::start_tls(acceptor(&identity, &["http/1.1"], None), |exchange| {
        exchange.body()?;
        exchange.reply(200, "Connection: close\r\n", "OK")?;
        Ok(After::Close)
    });
    let tls = format!(
        "tls: {{ validation: {{ caCertificates: [\"{}\"], hostname: shop.internal }} }}",
        ca.display()
    );
    let mut setup = Setup::new();
    for name in ["one", "two"] {
        setup = setup
            .service_with(name, &[("stable", origin.addr())], &tls)
            .rules(
                name,
                &format!("hostnames: [{name}.example]"),
                &[&format!("backendRefs: [{{ name: {name} }}]")],
            );
    }
    let weir = Weir::start(&setup);
    for host in ["one.example", "one.example", "two.example", "two.example"] {
        assert_eq!(weir.get(host, "/").status(), 200);
    }
    let sessions = origin.requests().into_iter().map(|seen| {
        let session = seen.session.expect("a request over TLS");
        assert_eq!(session.sni.as_deref(), Some("shop.internal"));
        (seen.connection, session.resumed)
    });
    let expected = [(0, false), (1, true), (2, false), (3, true)];
    assert_eq!(sessions.collect::<Vec<_>>(), expected);
}
