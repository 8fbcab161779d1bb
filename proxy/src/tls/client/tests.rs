use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_config::model::{AltName, ClientAuthMode};

use super::*;
use crate::tls::accept::shake;
use crate::tls::server::ServerTls;
use crate::tls::testing::{Authority, Leaf, alarm, listener, sockets};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn model(authority: &Authority, hostname: &str) -> BackendTls {
    BackendTls {
        roots: BackendRoots::Given(authority.model()),
        hostname: Some(hostname.to_owned()),
        alt_names: Vec::new(),
        client: None,
    }
}

fn http(model: BackendTls) -> Arc<ClientTls> {
    ClientTls::build(&Arc::new(model), AppProtocol::Http, None)
}

/// A server that knows these protocols, and shows that certificate whatever it is asked for.
fn server(leaf: &Leaf, alpn: &[&str]) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der.clone()], leaf.key());
    let mut config = config.unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Calls a server; the server's own failure is the client's as well.
async fn call(tls: &ClientTls, server: &Arc<ServerConfig>) -> Result<TlsStream, String> {
    let (near, mut far) = sockets().await;
    let mut session = ServerConnection::new(Arc::clone(server)).unwrap().into();
    let (one, other) = (alarm(), alarm());
    let (client, _) = tokio::join!(
        async {
            let mut stream = connect(near, tls, ADDRESS, &one).await?;
            stream.flush().await?;
            // The ticket comes in front of it.
            stream.read_exact(&mut [0]).await?;
            Ok(stream)
        },
        async {
            drive(&mut far, &mut session, &mut &b""[..], &other).await?;
            let mut stream = TlsStream::new(far, session, TlsInfo::default());
            stream.write_all(b"!").await?;
            Ok::<_, TlsError>(stream)
        }
    );
    client.map_err(|error: TlsError| error.to_string())
}

#[tokio::test]
async fn an_endpoint_must_have_the_name_and_a_chain_that_is_trusted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = authority.leaf(&["a.shop.internal"]);
    let wildcard = authority.leaf(&["*.shop.internal"]);
    let wrong = authority.leaf(&["cart.internal"]);
    let foreign = other.leaf(&["a.shop.internal"]);
    let expired = authority.leaf_with(&["a.shop.internal"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let early = authority.leaf_with(&["a.shop.internal"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_before = rcgen::date_time_ymd(3000, 1, 1);
        params.not_after = rcgen::date_time_ymd(3001, 1, 1);
    });
    let tls = http(model(&authority, "a.shop.internal"));
    let insecure = http(BackendTls {
        roots: BackendRoots::Insecure,
        hostname: None,
        ..model(&authority, "")
    });
    for (leaf, expected) in [
        (&good, None),
        (&wildcard, None),
        (&wrong, Some("not valid for name")),
        (&foreign, Some("UnknownIssuer")),
        (&expired, Some("expired")),
        (&early, Some("not valid yet")),
    ] {
        let server = server(leaf, &[]);
        let error = call(&tls, &server).await.err();
        assert_eq!(error.is_some(), expected.is_some(), "{error:?}");
        if let (Some(error), Some(expected)) = (error, expected) {
            assert!(error.contains(expected), "{error}");
        }
        call(&insecure, &server).await.unwrap();
    }
}

#[tokio::test]
async fn alternative_names_are_those_of_the_certificate_or_under_its_wildcards() {
    let authority = Authority::new();
    let uri = "spiffe://example.org/shop";
    let leaf = authority.leaf(&["Shop.Internal", "*.example.org", uri]);
    let server = server(&leaf, &[]);
    let dns = |name: &str| AltName::Dns(name.to_owned());
    let id = |uri: &str| AltName::Uri(uri.to_owned());
    for (names, good) in [
        (vec![dns("shop.internal")], true),
        (vec![dns("cart.internal"), id(uri)], true),
        (vec![dns("*.example.org")], true),
        (vec![dns("a.example.org")], true),
        (vec![dns("A.Example.Org")], true),
        (vec![dns("a.b.example.org")], false),
        (vec![dns("example.org")], false),
        (vec![dns(".example.org")], false),
        (vec![dns("a.example.com")], false),
        (vec![dns("*.internal")], false),
        (vec![id("spiffe://example.org/shop2")], false),
        (vec![id("spiffe://example.org/Shop")], false),
        (vec![id("spiffe://example.org/shop/")], false),
        (vec![dns("spiffe://example.org/shop")], false),
        (vec![id("shop.internal")], false),
    ] {
        let tls = http(BackendTls {
            alt_names: names.clone(),
            // What is asked for need not be in the certificate then.
            ..model(&authority, "any.example")
        });
        assert_eq!(call(&tls, &server).await.is_ok(), good, "{names:?}");
    }
    // A name of another authority's is none.
    let tls = http(BackendTls {
        alt_names: vec![id(uri)],
        ..model(&Authority::new(), "any.example")
    });
    assert!(call(&tls, &server).await.is_err());
}

#[tokio::test]
async fn what_is_offered_follows_the_services_protocol() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["shop.internal"]);
    let model = Arc::new(model(&authority, "shop.internal"));
    for (protocol, known, agreed, speaks_h2) in [
        (
            AppProtocol::Http,
            &["h2", "http/1.1"][..],
            Some(Alpn::H2),
            true,
        ),
        (AppProtocol::Http, &["http/1.1"], Some(Alpn::Http11), false),
        (AppProtocol::Http, &[], Some(Alpn::None), false),
        (
            AppProtocol::Http1,
            &["h2", "http/1.1"],
            Some(Alpn::Http11),
            false,
        ),
        (AppProtocol::Http1, &[], Some(Alpn::None), false),
        (AppProtocol::H2c, &["http/1.1", "h2"], Some(Alpn::H2), true),
        (AppProtocol::H2c, &[], Some(Alpn::None), true),
        (AppProtocol::H2c, &["http/1.1"], None, false),
    ] {
        let tls = ClientTls::build(&model, protocol, None);
        let alpn = call(&tls, &server(&leaf, known)).await.ok();
        let alpn = alpn.map(|stream| stream.info().alpn);
        assert_eq!(alpn, agreed, "{protocol:?} with {known:?}");
        let h2 = alpn.is_some_and(|alpn| tls.speaks_h2(alpn));
        assert_eq!(h2, speaks_h2, "{protocol:?} with {known:?}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_until_the_settings_change() {
    let authority = Authority::new();
    let server = server(&authority.leaf(&["shop.internal"]), &[]);
    let settings = Arc::new(model(&authority, "shop.internal"));
    let tls = ClientTls::build(&settings, AppProtocol::Http, None);
    assert!(!call(&tls, &server).await.unwrap().info().resumed);
    assert!(call(&tls, &server).await.unwrap().info().resumed);
    let same = Arc::new((*settings).clone());
    let again = ClientTls::build(&same, AppProtocol::Http, Some(&tls));
    assert!(Arc::ptr_eq(&tls, &again));
    let other = ClientTls::build(&same, AppProtocol::Http1, Some(&tls));
    let stream = call(&other, &server).await.unwrap();
    let kind = stream.into_connection().handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn an_endpoint_that_asks_is_shown_the_client_certificate() {
    let authority = Authority::new();
    let own = authority.leaf(&["weir.internal"]);
    let mut asking = (*listener(vec![
        authority.leaf(&["shop.internal"]).model(&["shop.internal"]),
    ]))
    .clone();
    asking.client_auth = Some(authority.client_auth(ClientAuthMode::Require));
    let asking = ServerTls::build(&Arc::new(asking), None);
    for certificate in [None, Some(own.model(&["weir.internal"]))] {
        let tls = http(BackendTls {
            client: certificate.clone(),
            ..model(&authority, "shop.internal")
        });
        let (near, mut far) = sockets().await;
        let (one, other) = (alarm(), alarm());
        let (_stream, server) = tokio::join!(
            async {
                let mut stream = connect(near, &tls, ADDRESS, &one).await.unwrap();
                stream.flush().await.unwrap();
                stream
            },
            shake(&mut far, b"", &asking, &other)
        );
        match certificate {
            None => assert_eq!(server.err().unwrap().result(), "no_cert"),
            Some(_) => {
                let info = server.unwrap().1;
                assert_eq!(info.peer.unwrap().names, ["weir.internal"]);
                assert_eq!(info.server_name.as_deref(), Some("shop.internal"));
            }
        }
    }
}

#[tokio::test]
async fn without_authorities_nobody_is_called() {
    let authority = Authority::new();
    let server = server(&authority.leaf(&["shop.internal"]), &[]);
    let none = weir_config::model::Roots {
        ders: vec![b"no certificate".to_vec()],
        source: "ca.pem".to_owned(),
    };
    let tls = http(BackendTls {
        roots: BackendRoots::Given(Arc::new(none)),
        ..model(&authority, "shop.internal")
    });
    assert!(call(&tls, &server).await.is_err());
}
