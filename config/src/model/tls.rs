//! TLS on both sides: what a listener shows and asks for, and how a service's endpoints are called.
//!
//! Certificates are here with their bytes, so that whoever serves a model opens no file. Private keys never show in
//! `Debug` output, and nothing that writes a model out takes them.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::PrivateKeyDer;

use super::{HostPattern, Source, TrustDomain};

const DAY: i64 = 24 * 3600;
/// From when on the end of a certificate is near.
const SOON: i64 = 14 * DAY;

/// How TLS is ended on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Never empty. The first is shown to clients that name no host, or one that none of them is for.
    pub certificates: Vec<Arc<Certificate>>,
    /// Default 1.2.
    pub min_version: TlsVersion,
    /// What is offered, the preferred first. Never empty; default both.
    pub alpn: Vec<Alpn>,
    /// What is asked of clients; `None`: nothing.
    pub client_auth: Option<ClientAuth>,
    /// Hosts for which something else is asked of clients. An exact hostname stands before a wildcard, and of
    /// wildcards the longest before the others.
    pub hosts: Vec<HostTls>,
    /// Clients that speak in plain text are served, too. Default no.
    pub plain_too: bool,
}

/// What is asked of the clients of some hosts, in place of what the listener asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTls {
    /// Never empty.
    pub hostnames: Vec<HostPattern>,
    /// `None`: nothing.
    pub client_auth: Option<ClientAuth>,
}

/// Oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    #[default]
    V12,
    V13,
}

impl TlsVersion {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

/// A protocol inside of TLS (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    H2,
    Http11,
}

impl Alpn {
    /// As it is on the wire, and as a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http11 => "http/1.1",
        }
    }
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    pub mode: ClientAuthMode,
    /// Who may have issued them.
    pub roots: Arc<Roots>,
    /// They must bear one SPIFFE id, and it must be of this domain. `None`: whatever they bear will do.
    pub trust_domain: Option<TrustDomain>,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// One that is shown must be valid; none is fine.
    Optional,
    /// A client without a valid one is refused.
    Require,
}

impl ClientAuthMode {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Require => "require",
        }
    }
}

/// Certificates of authorities that are trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Roots {
    /// Each in DER. Never empty.
    pub ders: Vec<Vec<u8>>,
    /// The files they are from, for people.
    pub source: String,
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({} from {})", self.ders.len(), self.source)
    }
}

/// A certificate with its chain and its key, which belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file of the certificate, or `self-signed`.
    pub name: String,
    /// In DER, the certificate itself first. Never empty.
    pub chain: Vec<Vec<u8>>,
    pub key: PrivateKey,
    /// What it is for, from its subject alternative names: DNS names in lower case, wildcards as `*.example.com`, IP
    /// addresses as text.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970; the second itself is still valid.
    pub not_after: i64,
    pub issuer: String,
    /// Hexadecimal, with colons.
    pub serial: String,
    /// SHA-256 of the certificate itself.
    pub fingerprint: [u8; 32],
    /// An answer of the authority's OCSP responder about it, to be stapled.
    pub ocsp: Option<OcspAnswer>,
    /// Where the configuration names it.
    pub source: Source,
}

/// What an authority's OCSP responder says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspAnswer {
    /// The whole answer, as it is stapled.
    pub der: Vec<u8>,
    pub status: OcspStatus,
    /// Since when it is known to hold, in seconds since 1970.
    pub this_update: i64,
    /// Until when it may be shown, in seconds since 1970; the second itself is still good.
    pub next_update: i64,
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    Good,
    Revoked,
}

impl Certificate {
    /// The fingerprint in hexadecimal, as other tools show it but for their colons.
    #[must_use]
    pub fn fingerprint_text(&self) -> String {
        use fmt::Write as _;
        let mut out = String::with_capacity(64);
        for byte in self.fingerprint {
            let _ = write!(out, "{byte:02x}");
        }
        out
    }

    /// How far its life has gone at that time.
    #[must_use]
    pub fn life(&self, now: i64) -> Life {
        let left = self.not_after.saturating_sub(now);
        let whole = self.not_after.saturating_sub(self.not_before);
        if left < 0 {
            Life::Expired
        } else if self.not_before > now {
            Life::NotYetValid
        } else if left < SOON && left.saturating_mul(3) < whole {
            Life::Expiring
        } else {
            Life::Valid
        }
    }

    /// Whole days until it expires; negative once it has.
    #[must_use]
    pub fn days_left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now).div_euclid(DAY)
    }
}

/// How far a certificate's life has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    NotYetValid,
    Valid,
    /// Less than 14 days and less than a third of its life are left.
    Expiring,
    Expired,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("name", &self.name)
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .field("fingerprint", &self.fingerprint_text())
            .finish_non_exhaustive()
    }
}

/// A private key in DER: PKCS #8, SEC 1 or PKCS #1. It never shows in `Debug` output.
#[derive(PartialEq, Eq)]
pub struct PrivateKey(PrivateKeyDer<'static>);

impl PrivateKey {
    /// Takes a key as it was read.
    #[must_use]
    pub fn new(key: PrivateKeyDer<'static>) -> Self {
        Self(key)
    }

    /// The key, for the TLS library.
    #[must_use]
    pub fn der(&self) -> PrivateKeyDer<'static> {
        self.0.clone_key()
    }
}

impl Clone for PrivateKey {
    fn clone(&self) -> Self {
        Self(self.0.clone_key())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(not shown)")
    }
}

/// How endpoints are called over TLS (Gateway API, `BackendTLSPolicy`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTls {
    pub roots: BackendRoots,
    /// The name that is asked for (SNI), and without `alt_names` the one that the certificate must have. Only with
    /// [`BackendRoots::Insecure`] it may be missing: then no name is asked for.
    pub hostname: Option<String>,
    /// Names of which the certificate must have one, in place of `hostname`.
    pub alt_names: Vec<AltName>,
    /// What endpoints are shown that ask for a certificate.
    pub client: Option<Arc<Certificate>>,
}

/// Who must have issued an endpoint's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendRoots {
    /// The authorities that the machine trusts.
    System,
    Given(Arc<Roots>),
    /// Anybody: certificates are not checked at all. For development.
    Insecure,
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AltName {
    /// A DNS name in lower case.
    Dns(String),
    /// Compared byte for byte, as in `spiffe://example.org/shop`.
    Uri(String),
}
