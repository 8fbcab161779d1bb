//! What a handshake settled.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use weir_config::model::{ClientAuth, SpiffeId};

use super::certificate::{self, Bearer};

/// The protocol spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Alpn {
    /// The peers did not speak of it, which means HTTP/1.1 but where only HTTP/2 is spoken.
    #[default]
    None,
    Http11,
    H2,
}

impl Alpn {
    pub(super) fn of(protocol: Option<&[u8]>) -> Self {
        match protocol {
            Some(b"h2") => Self::H2,
            Some(b"http/1.1") => Self::Http11,
            _ => Self::None,
        }
    }

    /// As it is registered, for logs.
    pub(crate) fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Http11 => Some("http/1.1"),
            Self::H2 => Some("h2"),
        }
    }
}

/// Of one connection, for as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct TlsInfo {
    pub(super) version: Option<ProtocolVersion>,
    pub(crate) alpn: Alpn,
    /// The name that the client asked for, in lower case.
    pub(crate) server_name: Option<Box<str>>,
    /// Who the peer is, where it showed a certificate that was verified. Of connections from clients only.
    pub(crate) peer: Option<Box<Peer>>,
    /// What was asked of the client when it connected.
    pub(super) client_auth: Option<ClientAuth>,
    /// What it showed, its own certificate first.
    pub(super) chain: Box<[CertificateDer<'static>]>,
    /// Whether it may go on by what is asked since then: the policy's number, doubled, and one more if it may.
    pub(super) judged: AtomicU64,
    /// When the handshake was over, since 1970.
    pub(super) opened: Duration,
    /// When the first of these certificates ends, since 1970.
    pub(super) ends: Option<Duration>,
    /// An earlier session was taken up again.
    pub(crate) resumed: bool,
}

impl TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub(crate) fn version(&self) -> &'static str {
        match self.version {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        }
    }

    /// How long what the client showed was still good for when the handshake was over; `None`: it showed nothing.
    pub(crate) fn good_for(&self) -> Option<Duration> {
        Some(self.ends?.saturating_sub(self.opened))
    }

    /// The same in short: the name of its service, or the whole id of what is none.
    pub(crate) fn workload(&self) -> Option<&str> {
        let id = self.peer.as_ref()?.identity.as_ref()?;
        let path = id.path();
        Some(path.strip_prefix("/svc/").unwrap_or(id.as_str()))
    }

    /// The SPIFFE id that the peer has proved.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.peer.as_ref()?.identity.as_ref().map(SpiffeId::as_str)
    }

    /// What both sides of any connection have.
    pub(super) fn of(common: &rustls::CommonState) -> Self {
        Self {
            version: common.protocol_version(),
            alpn: Alpn::of(common.alpn_protocol()),
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            ..Self::default()
        }
    }
}

/// The bearer of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Subject alternative names: DNS names, then URIs, each in the order of the certificate.
    pub(crate) names: Vec<String>,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
    /// Who it is in the mesh.
    pub(crate) identity: Option<SpiffeId>,
    /// What endpoints are told of it, where they are.
    pub(crate) told: String,
}

impl Peer {
    /// Of a certificate that has been verified.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut names = Vec::new();
        if let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) {
            let all = parsed.valid_dns_names().chain(parsed.valid_uri_names());
            names.extend(all.map(str::to_owned));
        }
        let bearer = Bearer::of(certificate);
        let fingerprint = Sha256::digest(certificate).into();
        Self {
            names,
            told: certificate::told(&fingerprint, &bearer),
            fingerprint,
            identity: bearer.identity,
        }
    }
}
