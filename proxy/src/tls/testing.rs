//! Certificates and pairs of sockets for tests.

use crate::moment::Moment;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use weir_config::model::{
    Alpn, Certificate, ClientAuth, ClientAuthMode, ListenerTls, PrivateKey, Roots, Source,
    TlsVersion,
};

use super::handshake::drive_alone;
use super::provider::provider;
use super::{ServerTls, TlsError, TlsInfo, TlsStream};
use crate::timer::{AlarmGuard, Timers};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Authority {
    pub(crate) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Its own name, so that nobody mistakes it for another.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self {
            der,
            issuer: Issuer::new(params, key),
        }
    }

    /// A leaf for clients and servers, valid now.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
    }

    pub(crate) fn leaf_with(
        &self,
        names: &[&str],
        algorithm: &'static rcgen::SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let (uris, names): (Vec<_>, Vec<_>) = names
            .iter()
            .map(ToString::to_string)
            .partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(names).unwrap();
        for uri in uris {
            let uri = SanType::URI(uri.try_into().unwrap());
            params.subject_alt_names.push(uri);
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            der: cert.der().clone(),
            key: key.serialize_der(),
        }
    }

    /// Certificates by this authority are asked of clients.
    pub(crate) fn client_auth(&self, mode: ClientAuthMode) -> ClientAuth {
        ClientAuth {
            trust_domain: None,
            mode,
            roots: self.model(),
        }
    }

    /// As it stands in a model.
    pub(crate) fn model(&self) -> Arc<Roots> {
        Arc::new(Roots {
            ders: vec![self.der.to_vec()],
            source: "ca.pem".to_owned(),
        })
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A server with a certificate for `localhost`.
    pub(crate) fn server(&self) -> ServerConfig {
        let leaf = self.leaf(&["localhost"]);
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der.clone()], leaf.key())
            .unwrap()
    }
}

pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    /// PKCS #8.
    pub(crate) key: Vec<u8>,
}

impl Leaf {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }
}

impl Leaf {
    /// As it stands in a model.
    pub(crate) fn model(&self, names: &[&str]) -> Arc<Certificate> {
        Arc::new(Certificate {
            name: format!("{names:?}"),
            chain: vec![self.der.to_vec()],
            key: PrivateKey::new(self.key()),
            names: names.iter().map(ToString::to_string).collect(),
            not_before: 0,
            not_after: i64::MAX,
            issuer: String::new(),
            serial: String::new(),
            fingerprint: Sha256::digest(&self.der).into(),
            ocsp: None,
            source: Source::default(),
        })
    }
}

/// TLS of a listener with these certificates, and defaults else.
pub(crate) fn listener(certificates: Vec<Arc<Certificate>>) -> Arc<ListenerTls> {
    Arc::new(ListenerTls {
        plain_too: false,
        certificates,
        min_version: TlsVersion::V12,
        alpn: vec![Alpn::H2, Alpn::Http11],
        client_auth: None,
        hosts: Vec::new(),
    })
}

/// Trusts every certificate, and keeps the OCSP answer that came with the last.
#[derive(Debug, Default)]
pub(crate) struct Trusting {
    pub(crate) ocsp: Mutex<Vec<u8>>,
}

pub(crate) fn trusting() -> Arc<Trusting> {
    Arc::default()
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.ocsp.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A client's sessions, all under one name: each is offered to every server.
#[derive(Debug)]
pub(crate) struct OneName(ClientSessionMemoryCache);

impl Default for OneName {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(100))
    }
}

fn one_name() -> ServerName<'static> {
    "one.name".try_into().unwrap()
}

impl ClientSessionStore for OneName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one_name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one_name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one_name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one_name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one_name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one_name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one_name())
    }
}

/// The server's side of a handshake, in a task of any thread; nothing bounds it.
pub(crate) async fn serve(mut tcp: TcpStream, tls: &ServerTls) -> Result<TlsStream, TlsError> {
    let config = Arc::clone(tls.policy(None).config.as_ref().unwrap());
    let mut connection = rustls::ServerConnection::new(config).unwrap().into();
    drive_alone(&mut tcp, &mut connection).await?;
    let info = TlsInfo::of(&connection);
    Ok(TlsStream::new(tcp, connection, info))
}

/// Two ends of one connection over loopback: who connected, who accepted.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let sockets = (connected.unwrap(), accepted.unwrap().0);
    sockets.0.set_nodelay(true).unwrap();
    sockets.1.set_nodelay(true).unwrap();
    sockets
}

/// An alarm that nobody rings.
pub(crate) fn alarm() -> AlarmGuard {
    std::rc::Rc::new(Timers::new(Moment::now())).alarm()
}

/// Sessions of a client with that configuration, and of a server of the same authority.
pub(crate) fn sessions(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) -> (rustls::Connection, rustls::Connection) {
    let name = "localhost".try_into().unwrap();
    let client = rustls::ClientConnection::new(Arc::new(authority.client(version)), name);
    let server = rustls::ServerConnection::new(Arc::new(authority.server()));
    (client.unwrap().into(), server.unwrap().into())
}
