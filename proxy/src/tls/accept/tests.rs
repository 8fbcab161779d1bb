use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_config::model::{
    Certificate, ClientAuthMode, HostPattern, HostTls, ListenerTls, OcspAnswer, OcspStatus, Roots,
    TlsVersion,
};

use super::*;
use crate::tls::handshake;
use crate::tls::info::Alpn as Spoken;
use crate::tls::testing::{Authority, Leaf, alarm, listener, sockets};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What both sides have after a handshake.
struct Done {
    client: ClientConnection,
    server: Result<TlsStream, TlsError>,
}

impl Done {
    /// The first name in the certificate that the client was shown.
    fn shown(&self) -> String {
        let certificate = self.client.peer_certificates().unwrap().first().unwrap();
        Peer::of(certificate).names.remove(0)
    }

    fn info(&self) -> &TlsInfo {
        self.server.as_ref().unwrap().info()
    }

    fn result(&self) -> &'static str {
        match &self.server {
            Ok(stream) if stream.info().resumed => "resumed",
            Ok(_) => "ok",
            Err(error) => error.result(),
        }
    }
}

/// A client connects under a name; of the client's own failure nothing is said.
async fn connect(tls: &ServerTls, config: &Arc<ClientConfig>, name: &str) -> Done {
    connect_behind(tls, config, name, b"").await
}

/// The same, where the client's first bytes up to that many have been read before.
async fn connect_behind(
    tls: &ServerTls,
    config: &Arc<ClientConfig>,
    name: &str,
    first: &[u8],
) -> Done {
    let (near, mut far) = sockets().await;
    let name = name.to_owned().try_into().unwrap();
    let client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let (one, other) = (alarm(), alarm());
    let (client, server) = tokio::join!(
        async {
            let mut near = near;
            let mut client = Connection::from(client);
            let shaken = handshake::drive(&mut near, &mut client, &mut &b""[..], &one).await;
            if shaken.is_ok() {
                // The last flight, and the tickets or the alert in answer to it.
                let info = TlsInfo::of(&client);
                let mut stream = TlsStream::new(near, client, info);
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0; 1]).await;
                client = stream.into_connection();
            }
            client
        },
        async {
            let (connection, info) = shake(&mut far, first, tls, &other).await?;
            let mut stream = TlsStream::new(far, connection, info);
            let _ = stream.write_all(b"!").await;
            let _ = stream.flush().await;
            Ok(stream)
        }
    );
    let Connection::Client(client) = client else {
        unreachable!("it is a client's");
    };
    Done { client, server }
}

fn client(authority: &Authority) -> Arc<ClientConfig> {
    Arc::new(authority.client(&TLS13))
}

/// A client that shows a certificate.
fn bearer(
    authority: &Authority,
    leaf: &Leaf,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(super::super::provider::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(vec![leaf.der.clone()], leaf.key());
    Arc::new(config.unwrap())
}

fn host(pattern: &str, client_auth: Option<ClientAuth>) -> HostTls {
    HostTls {
        hostnames: vec![HostPattern::parse(pattern).unwrap().unwrap()],
        client_auth,
    }
}

#[tokio::test]
async fn the_certificate_is_the_exact_one_else_the_longest_wildcard_else_the_first() {
    let authority = Authority::new();
    let names = [
        &["default.example"][..],
        &["a.example.com"],
        &["*.example.com"],
        &["*.b.example.com", "c.example.com"],
    ];
    let leaves = names.map(|names| authority.leaf(names).model(names));
    let tls = ServerTls::build(&listener(leaves.to_vec()), None);
    let mut config = authority.client(&TLS13);
    // Whatever name the certificate is for.
    config
        .dangerous()
        .set_certificate_verifier(crate::tls::testing::trusting());
    let config = Arc::new(config);
    for (name, expected) in [
        ("a.example.com", "a.example.com"),
        ("A.EXAMPLE.com", "a.example.com"),
        ("x.example.com", "*.example.com"),
        ("x.b.example.com", "*.b.example.com"),
        ("c.example.com", "*.b.example.com"),
        ("example.com", "default.example"),
        ("other.example", "default.example"),
        // An address is not asked for by name.
        ("127.0.0.1", "default.example"),
    ] {
        let done = connect(&tls, &config, name).await;
        assert_eq!(done.shown(), expected, "{name}");
        let named = (name != "127.0.0.1").then(|| name.to_lowercase());
        assert_eq!(done.info().server_name.as_deref(), named.as_deref());
    }
}

#[tokio::test]
async fn of_certificates_for_one_name_the_client_gets_one_that_it_can_verify_cheaply() {
    let authority = Authority::new();
    let kinds = [&PKCS_RSA_SHA256, &PKCS_ED25519, &PKCS_ECDSA_P256_SHA256];
    let leaves = kinds.map(|kind| {
        let leaf = authority.leaf_with(&["localhost"], kind, |_| {});
        leaf.model(&["localhost"])
    });
    let [rsa, _, ecdsa] = leaves.clone().map(|leaf| leaf.chain[0].clone());
    let tls = ServerTls::build(&listener(leaves.to_vec()), None);
    let all = client(&authority);
    let done = connect(&tls, &all, "localhost").await;
    assert_eq!(done.client.peer_certificates().unwrap()[0].as_ref(), ecdsa);
    // One that knows RSA alone.
    let mut provider = (*super::super::provider::provider()).clone();
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_none() && format!("{:?}", suite.suite()).contains("RSA"));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    for name in ["localhost", "127.0.0.1"] {
        let mut config = config.clone();
        config
            .dangerous()
            .set_certificate_verifier(crate::tls::testing::trusting());
        let done = connect(&tls, &Arc::new(config), name).await;
        assert_eq!(done.client.peer_certificates().unwrap()[0].as_ref(), rsa);
    }
}

#[tokio::test]
async fn the_protocol_inside_is_agreed_on() {
    let authority = Authority::new();
    let tls = ServerTls::build(
        &listener(vec![authority.leaf(&["localhost"]).model(&["localhost"])]),
        None,
    );
    for (offered, expected) in [
        (&["h2", "http/1.1"][..], Some(Spoken::H2)),
        (&["http/1.1", "h2"], Some(Spoken::H2)),
        (&["http/1.1"], Some(Spoken::Http11)),
        (&[], Some(Spoken::None)),
        (&["spdy/3"], None),
    ] {
        let mut config = authority.client(&TLS13);
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let done = connect(&tls, &Arc::new(config), "localhost").await;
        match expected {
            Some(alpn) => assert_eq!(done.info().alpn, alpn, "{offered:?}"),
            None => assert_eq!(done.result(), "incompatible"),
        }
    }
}

#[tokio::test]
async fn old_versions_are_refused_where_the_listener_says_so() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["localhost"]).model(&["localhost"]);
    for (min_version, version, expected) in [
        (TlsVersion::V12, &TLS12, "ok"),
        (TlsVersion::V12, &TLS13, "ok"),
        (TlsVersion::V13, &TLS12, "incompatible"),
        (TlsVersion::V13, &TLS13, "ok"),
    ] {
        let model = ListenerTls {
            min_version,
            ..(*listener(vec![Arc::clone(&leaf)])).clone()
        };
        let tls = ServerTls::build(&Arc::new(model), None);
        let done = connect(&tls, &Arc::new(authority.client(version)), "localhost").await;
        assert_eq!(done.result(), expected);
        if expected == "ok" {
            let spoken = done.client.protocol_version().unwrap();
            assert_eq!(
                done.info().version(),
                spoken.as_str().unwrap().replace("TLSv1_", "TLSv1.")
            );
        }
    }
}

#[tokio::test]
async fn certificates_are_asked_of_clients_by_host() {
    let (authority, other) = (Authority::new(), Authority::new());
    let leaf = authority.leaf(&["*.example.com"]).model(&["*.example.com"]);
    let model = ListenerTls {
        hosts: vec![
            host(
                "must.example.com",
                Some(authority.client_auth(ClientAuthMode::Require)),
            ),
            host(
                "may.example.com",
                Some(authority.client_auth(ClientAuthMode::Optional)),
            ),
        ],
        ..(*listener(vec![leaf])).clone()
    };
    let tls = ServerTls::build(&Arc::new(model), None);
    let uri = "spiffe://example.com/ns/shop";
    let good = authority.leaf(&["client.example.com", uri]);
    let server_only = authority.leaf_with(&["x"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let expired = authority.leaf_with(&["x"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let foreign = other.leaf(&["x"]);
    for version in VERSIONS {
        let plain = Arc::new(authority.client(version));
        let with = |leaf| bearer(&authority, leaf, version);
        for (name, config, expected) in [
            ("open.example.com", &plain, "ok"),
            ("open.example.com", &with(&foreign), "ok"),
            ("must.example.com", &plain, "no_cert"),
            ("must.example.com", &with(&good), "ok"),
            ("must.example.com", &with(&foreign), "bad_cert"),
            ("must.example.com", &with(&expired), "bad_cert"),
            ("must.example.com", &with(&server_only), "bad_cert"),
            ("may.example.com", &plain, "ok"),
            ("may.example.com", &with(&good), "ok"),
            ("may.example.com", &with(&expired), "bad_cert"),
        ] {
            let done = connect(&tls, config, name).await;
            assert_eq!(done.result(), expected, "{name} {version:?}");
            if expected == "ok" {
                let shows = name != "open.example.com" && !Arc::ptr_eq(config, &plain);
                let peer = done.info().peer.as_deref();
                let expected = shows.then(|| Peer::of(&good.der));
                assert_eq!(peer, expected.as_ref());
            }
        }
    }
    assert_eq!(Peer::of(&good.der).names, ["client.example.com", uri]);
}

#[tokio::test]
async fn a_session_is_resumed_by_its_own_host_only() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["*.example.com"]).model(&["*.example.com"]);
    let must = authority.client_auth(ClientAuthMode::Require);
    let model = ListenerTls {
        hosts: vec![host("must.example.com", Some(must))],
        ..(*listener(vec![leaf])).clone()
    };
    let tls = ServerTls::build(&Arc::new(model), None);
    for version in VERSIONS {
        // A client that offers any session to any host.
        let mut config = authority.client(version);
        config.resumption = Resumption::store(Arc::new(crate::tls::testing::OneName::default()));
        let config = Arc::new(config);
        assert_eq!(connect(&tls, &config, "a.example.com").await.result(), "ok");
        assert_eq!(
            connect(&tls, &config, "a.example.com").await.result(),
            "resumed"
        );
        let done = connect(&tls, &config, "must.example.com").await;
        assert_eq!(done.result(), "no_cert", "{version:?}");
        // One of TLS 1.3 has been used up by then.
        connect(&tls, &config, "a.example.com").await;
        let done = connect(&tls, &config, "b.example.com").await;
        assert_eq!(done.client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(done.result(), "ok");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_beyond_the_end_of_the_certificate_that_opened_it() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["localhost"]);
    let asking = ListenerTls {
        client_auth: Some(authority.client_auth(ClientAuthMode::Require)),
        ..(*listener(vec![leaf.model(&["localhost"])])).clone()
    };
    let tls = ServerTls::build(&Arc::new(asking), None);
    for version in VERSIONS {
        let end = std::time::SystemTime::now() + Duration::from_secs(3);
        let short = authority.leaf_with(&["a"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.not_after = end.into();
        });
        let config = bearer(&authority, &short, version);
        assert_eq!(connect(&tls, &config, "localhost").await.result(), "ok");
        let again = connect(&tls, &config, "localhost").await;
        assert_eq!(again.result(), "resumed", "{version:?}");
        while std::time::SystemTime::now() < end + Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let late = connect(&tls, &config, "localhost").await;
        assert_eq!(late.client.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(late.result(), "bad_cert", "{version:?}");
    }
}

#[tokio::test]
async fn what_was_shown_is_good_for_as_long_as_its_authority_is_asked_for() {
    let authority = Authority::new();
    let (leaf, other) = (authority.leaf(&["localhost"]), Authority::new());
    let asking = |ders: &[&Authority]| {
        let roots = Roots {
            ders: ders.iter().map(|by| by.der.to_vec()).collect(),
            source: "ca.pem".to_owned(),
        };
        Arc::new(ListenerTls {
            client_auth: Some(ClientAuth {
                roots: Arc::new(roots),
                ..authority.client_auth(ClientAuthMode::Require)
            }),
            ..(*listener(vec![leaf.model(&["localhost"])])).clone()
        })
    };
    let end = std::time::SystemTime::now() + Duration::from_secs(2);
    let short = authority.leaf_with(&["a"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = end.into();
    });
    let alone = ServerTls::build(&asking(&[&authority]), None);
    let done = connect(&alone, &bearer(&authority, &short, &TLS13), "localhost").await;
    // Its bearer has another by now, which a connection that is open cannot show.
    while std::time::SystemTime::now() < end + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let beside = ServerTls::build(&asking(&[&authority, &other]), Some(&alone));
    assert!(!beside.is_misdirected(Some(done.info()), "localhost"));
    let without = ServerTls::build(&asking(&[&other]), Some(&beside));
    assert!(without.is_misdirected(Some(done.info()), "localhost"));
    assert!(without.takes(Some(done.info())));
    assert!(without.is_misdirected(None, "localhost") && !without.takes(None));
}

#[tokio::test]
async fn sessions_outlive_changes_of_anything_but_what_is_asked() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["localhost"]);
    let other = authority.leaf(&["localhost"]).model(&["localhost"]);
    let model = listener(vec![leaf.model(&["localhost"])]);
    let renewed = listener(vec![other]);
    let asking = Arc::new(ListenerTls {
        client_auth: Some(authority.client_auth(ClientAuthMode::Require)),
        ..(*model).clone()
    });
    for version in VERSIONS {
        let config = bearer(&authority, &leaf, version);
        let tls = ServerTls::build(&model, None);
        assert_eq!(connect(&tls, &config, "localhost").await.result(), "ok");
        let again = ServerTls::build(&Arc::new((*model).clone()), Some(&tls));
        assert!(Arc::ptr_eq(&tls, &again));
        let tls = ServerTls::build(&renewed, Some(&tls));
        assert_eq!(
            connect(&tls, &config, "localhost").await.result(),
            "resumed"
        );
        let tls = ServerTls::build(&asking, Some(&tls));
        assert_eq!(connect(&tls, &config, "localhost").await.result(), "ok");
        let done = connect(&tls, &config, "localhost").await;
        assert_eq!(done.result(), "resumed");
        // The certificate is remembered with the session.
        assert_eq!(done.info().peer.as_deref(), Some(&Peer::of(&leaf.der)));
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_left_out_and_takes_nothing_else_down() {
    let authority = Authority::new();
    let good = authority.leaf(&["good.example"]).model(&["good.example"]);
    let broken = Arc::new(Certificate {
        chain: vec![b"no certificate".to_vec()],
        ..(*authority
            .leaf(&["broken.example"])
            .model(&["broken.example"]))
        .clone()
    });
    let mismatched = Arc::new(Certificate {
        key: good.key.clone(),
        ..(*authority
            .leaf(&["mismatched.example"])
            .model(&["mismatched.example"]))
        .clone()
    });
    let config = client(&authority);
    let model = listener(vec![
        Arc::clone(&broken),
        Arc::clone(&mismatched),
        Arc::clone(&good),
    ]);
    let tls = ServerTls::build(&model, None);
    assert_eq!(
        connect(&tls, &config, "good.example").await.shown(),
        "good.example"
    );
    // Nothing that can be used: what was there stays, and without that everybody is refused.
    let useless = listener(vec![broken, mismatched]);
    let kept = ServerTls::build(&useless, Some(&tls));
    assert_eq!(
        connect(&kept, &config, "good.example").await.shown(),
        "good.example"
    );
    let none = ServerTls::build(&useless, None);
    assert_eq!(
        connect(&none, &config, "good.example").await.result(),
        "unusable"
    );
    // Without authorities a host lets nobody in.
    let mut closed = authority.client_auth(ClientAuthMode::Optional);
    closed.roots = Arc::new(weir_config::model::Roots {
        ders: vec![b"no certificate".to_vec()],
        source: "ca.pem".to_owned(),
    });
    let model = ListenerTls {
        hosts: vec![host("closed.example", Some(closed))],
        ..(*listener(vec![good])).clone()
    };
    let tls = ServerTls::build(&Arc::new(model), None);
    assert_eq!(
        connect(&tls, &config, "closed.example").await.result(),
        "unusable"
    );
    assert_eq!(connect(&tls, &config, "good.example").await.result(), "ok");
}

#[tokio::test]
async fn an_ocsp_answer_is_stapled_until_its_time_has_passed() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["localhost"]).model(&["localhost"]);
    let now = i64::try_from(rustls::pki_types::UnixTime::now().as_secs()).unwrap();
    for (until, expected) in [(now + 600, &b"an answer in DER"[..]), (now - 1, b"")] {
        let leaf = Certificate {
            ocsp: Some(OcspAnswer {
                der: b"an answer in DER".to_vec(),
                status: OcspStatus::Good,
                this_update: 0,
                next_update: until,
            }),
            ..(*leaf).clone()
        };
        let tls = ServerTls::build(&listener(vec![Arc::new(leaf)]), None);
        let verifier = crate::tls::testing::trusting();
        let mut config = authority.client(&TLS13);
        config
            .dangerous()
            .set_certificate_verifier(Arc::clone(&verifier) as _);
        connect(&tls, &Arc::new(config), "localhost").await;
        assert_eq!(*verifier.ocsp.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_request_for_a_host_that_asks_for_more_than_the_connection_showed_is_misdirected() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["*.example.com"]);
    let must = authority.client_auth(ClientAuthMode::Require);
    let may = authority.client_auth(ClientAuthMode::Optional);
    let model = ListenerTls {
        hosts: vec![
            host("must.example.com", Some(must.clone())),
            host("may.example.com", Some(may)),
        ],
        ..(*listener(vec![leaf.model(&["*.example.com"])])).clone()
    };
    let tls = ServerTls::build(&Arc::new(model), None);
    let config = bearer(&authority, &leaf, &TLS13);
    let nameless = {
        let mut config = authority.client(&TLS13);
        config.enable_sni = false;
        Arc::new(config)
    };
    for (config, name, allowed) in [
        (
            &config,
            "a.example.com",
            &["a.example.com", "b.example.com"][..],
        ),
        (&config, "must.example.com", &["must.example.com"]),
        (&config, "may.example.com", &["may.example.com"]),
        (
            &nameless,
            "a.example.com",
            &["a.example.com", "b.example.com"],
        ),
    ] {
        let done = connect(&tls, config, name).await;
        for host in [
            "a.example.com",
            "b.example.com",
            "may.example.com",
            "must.example.com",
        ] {
            let misdirected = tls.is_misdirected(Some(done.info()), host);
            assert_eq!(
                misdirected,
                !allowed.contains(&host),
                "{name} asks for {host}"
            );
        }
    }
    // What was opened before certificates were asked for does not go on without.
    let open = ServerTls::build(&listener(vec![leaf.model(&["*.example.com"])]), None);
    let done = connect(&open, &config, "must.example.com").await;
    assert!(!open.is_misdirected(Some(done.info()), "must.example.com"));
    assert!(tls.is_misdirected(Some(done.info()), "must.example.com"));
}

#[tokio::test]
async fn a_root_is_replaced_while_connections_go_on_and_what_only_the_old_one_vouches_for_does_not()
{
    let (old, new) = (Authority::new(), Authority::new());
    let leaf = old.leaf(&["shop.example.com"]);
    let trusting = |roots: &[&Authority]| {
        let ders = roots.iter().flat_map(|root| root.model().ders.clone());
        let roots = Roots {
            ders: ders.collect(),
            source: "test".into(),
        };
        let auth = ClientAuth {
            roots: Arc::new(roots),
            ..old.client_auth(ClientAuthMode::Require)
        };
        let model = ListenerTls {
            client_auth: Some(auth),
            ..(*listener(vec![leaf.model(&["shop.example.com"])])).clone()
        };
        ServerTls::build(&Arc::new(model), None)
    };
    let stages = [
        trusting(&[&old]),
        trusting(&[&old, &new]),
        trusting(&[&new]),
    ];
    let bearer_of = |authority: &Authority, named: bool| {
        let shown = authority.leaf(&["web.example.com"]);
        let config = ClientConfig::builder_with_provider(super::super::provider::provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(old.roots())
            .with_client_auth_cert(vec![shown.der.clone()], shown.key());
        let mut config = config.unwrap();
        config.enable_sni = named;
        Arc::new(config)
    };
    for named in [true, false] {
        let host = "shop.example.com";
        let first = connect(&stages[0], &bearer_of(&old, named), host).await;
        let second = connect(&stages[1], &bearer_of(&new, named), host).await;
        let goes_on = |done: &Done, at: usize| !stages[at].is_misdirected(Some(done.info()), host);
        assert_eq!([0, 1, 2].map(|at| goes_on(&first, at)), [true, true, false]);
        // Asked again, and in another order.
        assert_eq!([2, 1, 1].map(|at| goes_on(&first, at)), [false, true, true]);
        assert_eq!([1, 2].map(|at| goes_on(&second, at)), [true, true]);
    }
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let authority = Authority::new();
    let tls = ServerTls::build(
        &listener(vec![authority.leaf(&["localhost"]).model(&["localhost"])]),
        None,
    );
    let alert = Some(&21);
    for (said, expected, answer_begins) in [
        (
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            "plain_http",
            Some(&b'H'),
        ),
        (b"PUT /", "plain_http", Some(&b'H')),
        (b"SSH-2.0-x\r\n", "protocol", alert),
        (b"\x80\x2e\x01\x00\x02", "protocol", alert),
        // A message of several MiB, of which rustls says nothing.
        (b"\x16\x03\x01\x00\x05hello", "protocol", None),
    ] {
        let (mut near, mut far) = sockets().await;
        near.write_all(said).await.unwrap();
        let error = shake(&mut far, b"", &tls, &alarm()).await.err().unwrap();
        assert_eq!(error.result(), expected, "{}", said.escape_ascii());
        drop(far);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        let said = said.escape_ascii();
        assert_eq!(answer.first(), answer_begins, "{said}");
        if expected == "plain_http" {
            let text = String::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        }
    }
}

#[tokio::test]
async fn bytes_read_before_the_handshake_are_part_of_it() {
    let authority = Authority::new();
    let tls = ServerTls::build(
        &listener(vec![authority.leaf(&["localhost"]).model(&["localhost"])]),
        None,
    );
    for count in [1, 5, 100, 100_000] {
        let (mut near, mut far) = sockets().await;
        let name = "localhost".try_into().unwrap();
        let mut session =
            Connection::from(ClientConnection::new(client(&authority), name).unwrap());
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        let (first, rest) = hello.split_at(count.min(hello.len()));
        near.write_all(rest).await.unwrap();
        let (one, other) = (alarm(), alarm());
        let (client, server) = tokio::join!(
            async {
                handshake::drive(&mut near, &mut session, &mut &b""[..], &one).await?;
                let mut stream = TlsStream::new(near, session, TlsInfo::default());
                stream.flush().await?;
                Ok::<_, TlsError>(stream)
            },
            shake(&mut far, first, &tls, &other)
        );
        client.unwrap();
        server.unwrap();
    }
}

#[tokio::test]
async fn a_handshake_is_waited_for_no_longer_than_its_deadline() {
    let authority = Authority::new();
    let tls = ServerTls::build(
        &listener(vec![authority.leaf(&["localhost"]).model(&["localhost"])]),
        None,
    );
    let timers = std::rc::Rc::new(crate::timer::Timers::new(crate::moment::Moment::now()));
    let alarm = timers.alarm();
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let (mut near, mut far) = sockets().await;
        near.write_all(said).await.unwrap();
        alarm.set(timers.now() + 1);
        let sweeping = async {
            loop {
                tokio::time::sleep(crate::timer::TICK).await;
                timers.sweep(false);
            }
        };
        tokio::select! {
            shaken = shake(&mut far, b"", &tls, &alarm) => {
                assert_eq!(shaken.err().unwrap().result(), "timeout");
            }
            () = sweeping => {}
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_counted_as_such() {
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = ServerTls::build(
        &listener(vec![authority.leaf(&["localhost"]).model(&["localhost"])]),
        None,
    );
    let done = connect(&tls, &client(&other), "localhost").await;
    assert_eq!(done.result(), "rejected");
    let (near, mut far) = sockets().await;
    drop(near);
    let error = shake(&mut far, b"", &tls, &alarm()).await.err().unwrap();
    assert_eq!(error.result(), "closed");
}
