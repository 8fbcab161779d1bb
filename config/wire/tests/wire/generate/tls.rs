//! Certificates, made once and drawn from.

use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use weir_config::model::*;
use weir_config::pem;

use super::{hosts, source};

/// Two certificates with their keys, and what their texts are: one that is made, and one of which there is an OCSP answer.
static MADE: LazyLock<[(String, String); 2]> = LazyLock::new(|| {
    let names = ["*.example.com".to_owned(), "10.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let golden = (
        include_str!("../../../../tests/golden/certs/shop.crt").to_owned(),
        include_str!("../../../../tests/golden/certs/shop.key").to_owned(),
    );
    [(made.cert.pem(), made.signing_key.serialize_pem()), golden]
});

/// About the second of them.
const ANSWER: &[u8] = include_bytes!("../../../../tests/golden/certs/shop.ocsp");

fn certificate() -> impl Strategy<Value = Arc<Certificate>> {
    let name = select(vec!["/certs/a.crt", "/certs/b.crt", "self-signed"]);
    (name, 0usize..2, any::<bool>(), source()).prop_map(|(name, which, stapled, source)| {
        let (cert, key) = &MADE[which];
        let ocsp = (stapled && which == 1).then_some(ANSWER);
        let read = pem::certificate(
            name.to_owned(),
            cert.as_bytes(),
            key.as_bytes(),
            ocsp,
            source,
        );
        Arc::new(read.expect("a certificate with its key"))
    })
}

fn roots() -> impl Strategy<Value = Arc<Roots>> {
    (select(vec!["/certs/ca.pem", "a.pem, b.pem"]), 0usize..2).prop_map(|(source, which)| {
        let read = pem::roots(source.to_owned(), MADE[which].0.as_bytes());
        Arc::new(read.expect("authorities"))
    })
}

fn client_auth() -> impl Strategy<Value = ClientAuth> {
    let mode = select(vec![ClientAuthMode::Optional, ClientAuthMode::Require]);
    (mode, roots()).prop_map(|(mode, roots)| ClientAuth {
        mode,
        roots,
        trust_domain: None,
    })
}

pub(super) fn listener() -> impl Strategy<Value = ListenerTls> {
    let host = (hosts(1), of(client_auth())).prop_map(|(hostnames, client_auth)| HostTls {
        hostnames,
        client_auth,
    });
    let alpn = select(vec![
        vec![Alpn::H2, Alpn::Http11],
        vec![Alpn::Http11],
        vec![Alpn::Http11, Alpn::H2],
    ]);
    let version = select(vec![TlsVersion::V12, TlsVersion::V13]);
    (
        vec(certificate(), 1..4),
        version,
        alpn,
        of(client_auth()),
        vec(host, 0..3),
    )
        .prop_map(
            |(certificates, min_version, alpn, client_auth, hosts)| ListenerTls {
                plain_too: false,
                certificates,
                min_version,
                alpn,
                client_auth,
                hosts,
            },
        )
}

pub(super) fn backend() -> impl Strategy<Value = BackendTls> {
    let roots = prop_oneof![
        Just(BackendRoots::System),
        Just(BackendRoots::Insecure),
        roots().prop_map(BackendRoots::Given),
    ];
    let name = prop_oneof![
        Just(AltName::Dns("shop.example.com".to_owned())),
        Just(AltName::Dns("10.0.0.1".to_owned())),
        Just(AltName::Uri("spiffe://example.org/shop".to_owned())),
    ];
    (roots, any::<bool>(), vec(name, 0..3), of(certificate())).prop_map(
        |(roots, named, alt_names, client)| {
            let nameless = roots == BackendRoots::Insecure && !named;
            BackendTls {
                roots,
                hostname: (!nameless).then(|| "shop.example.com".to_owned()),
                alt_names,
                client,
            }
        },
    )
}
