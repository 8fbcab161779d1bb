//! TLS ends for the tests, on rustls: what they offer, whom they trust, what they say of a session.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::pki::{Authority, Identity};

/// How a client connects. One value keeps its tickets, so a clone of it resumes sessions.
#[derive(Debug, Clone)]
pub struct Connector {
    /// The name asked for (SNI) and held against the certificate.
    pub name: ServerName<'static>,
    pub config: Arc<ClientConfig>,
}

/// Which versions are offered.
pub const ALL: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// What a client would say, in the making.
pub struct Offer<'a> {
    pub roots: Option<Arc<RootCertStore>>,
    pub alpn: &'a [&'a str],
    pub versions: &'a [&'static SupportedProtocolVersion],
    pub client: Option<&'a Identity>,
}

impl Default for Offer<'_> {
    /// No ALPN, both versions, no certificate, and whatever the server shows is taken.
    fn default() -> Self {
        Self {
            roots: None,
            alpn: &[],
            versions: ALL,
            client: None,
        }
    }
}

impl Connector {
    /// Trusts that authority, and offers these protocols.
    #[must_use]
    pub fn trusting(authority: &Authority, name: &str, alpn: &[&str]) -> Self {
        Self::new(
            name,
            &Offer {
                roots: Some(authority.roots()),
                alpn,
                ..Offer::default()
            },
        )
    }

    /// Takes any certificate, as with a self-signed one.
    #[must_use]
    pub fn blind(name: &str, alpn: &[&str]) -> Self {
        Self::new(
            name,
            &Offer {
                alpn,
                ..Offer::default()
            },
        )
    }

    /// As that offer says.
    ///
    /// # Panics
    /// When the name is none, or the client's certificate does not fit its key.
    #[must_use]
    pub fn new(name: &str, offer: &Offer<'_>) -> Self {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder
            .with_protocol_versions(offer.versions)
            .expect("versions that go with the ciphers");
        let builder = match &offer.roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Blind(provider()))),
        };
        let mut config = match offer.client {
            Some(client) => builder
                .with_client_auth_cert(client.chain(), client.key())
                .expect("a certificate and its key"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = offer.alpn.iter().map(|&p| p.into()).collect();
        config.resumption = Resumption::in_memory_sessions(32);
        Self {
            name: ServerName::try_from(name.to_owned()).expect("a name of a server"),
            config: Arc::new(config),
        }
    }

    /// The same offer and the same tickets, for another name.
    ///
    /// # Panics
    /// When the name is none.
    #[must_use]
    pub fn to(&self, name: &str) -> Self {
        Self {
            name: ServerName::try_from(name.to_owned()).expect("a name of a server"),
            config: Arc::clone(&self.config),
        }
    }

    /// The handshake over a connection.
    ///
    /// # Errors
    /// As TLS or the socket gives them: the text of a [`rustls::Error`] tells alerts.
    pub fn connect(&self, stream: TcpStream) -> io::Result<Channel> {
        stream.set_read_timeout(Some(crate::wait::PATIENCE))?;
        stream.set_write_timeout(Some(crate::wait::PATIENCE))?;
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut tls = StreamOwned::new(session.map_err(io::Error::other)?, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Channel::Client(Box::new(tls)))
    }
}

/// A server's side: this identity, these protocols; with an authority, clients must show a certificate of it.
///
/// # Panics
/// When the identity's key does not fit.
#[must_use]
pub fn acceptor(
    identity: &Identity,
    alpn: &[&str],
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(ALL)
        .expect("versions that go with the ciphers");
    let builder = match clients {
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.roots(), provider())
                .build()
                .expect("a verifier of one root"),
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(identity.chain(), identity.key())
        .expect("a certificate and its key");
    config.alpn_protocols = alpn.iter().map(|&p| p.into()).collect();
    Arc::new(config)
}

/// The handshake of a server's side, over a connection that was accepted.
///
/// # Errors
/// As TLS or the socket gives them.
pub fn accept(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Channel> {
    stream.set_read_timeout(Some(crate::wait::PATIENCE))?;
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(Channel::Server(Box::new(tls)))
}

/// A connection, in clear or not.
#[derive(Debug)]
pub enum Channel {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub version: Option<ProtocolVersion>,
    pub alpn: Option<String>,
    /// The name that the client asked for; `None` at a client, which knows.
    pub sni: Option<String>,
    /// The certificates that the other side showed, its own first.
    pub peer: Vec<CertificateDer<'static>>,
    pub resumed: bool,
}

impl Channel {
    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Client(tls) => &tls.sock,
            Self::Server(tls) => &tls.sock,
        }
    }

    /// What TLS agreed on; `None` in clear.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let (common, sni): (&rustls::CommonState, _) = match self {
            Self::Plain(_) => return None,
            Self::Client(tls) => (&tls.conn, None),
            Self::Server(tls) => (&tls.conn, tls.conn.server_name()),
        };
        let peer = common.peer_certificates().unwrap_or_default();
        Some(Session {
            version: common.protocol_version(),
            alpn: common
                .alpn_protocol()
                .map(|p| String::from_utf8_lossy(p).into_owned()),
            sni: sni.map(str::to_owned),
            peer: peer.iter().map(|c| c.clone().into_owned()).collect(),
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    }

    /// Says that nothing more will be sent: by `close_notify` too where there is TLS.
    ///
    /// # Errors
    /// As the socket gives them.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => {}
            Self::Client(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
            }
            Self::Server(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
            }
        }
        self.socket().shutdown(std::net::Shutdown::Write)
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Client(tls) => tls.read(buffer),
            Self::Server(tls) => tls.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Client(tls) => tls.write(bytes),
            Self::Server(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Client(tls) => tls.flush(),
            Self::Server(tls) => tls.flush(),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes any certificate; signatures are still checked.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
