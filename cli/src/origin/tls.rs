//! TLS of the origin: whose certificate it shows, whom it asks for one, and what a session agreed on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// How long a client may take to shake hands.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where the origin's certificate is from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Own<'a> {
    /// Made now, for `localhost` and the loopback addresses.
    SelfSigned,
    Files {
        cert: &'a Path,
        key: &'a Path,
    },
}

/// What every connection of the origin is accepted with.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(super) acceptor: TlsAcceptor,
}

impl Tls {
    /// TLS 1.2 and 1.3. With `client_ca` a client must show a certificate that one of these roots signed.
    ///
    /// # Errors
    /// A sentence about the file or the value that does not fit.
    pub(crate) fn build(
        own: Own<'_>,
        alpn: &[String],
        client_ca: Option<&Path>,
    ) -> Result<Self, String> {
        let (chain, key) = match own {
            Own::SelfSigned => self_signed()?,
            Own::Files { cert, key } => {
                let key_der = PrivateKeyDer::from_pem_file(key)
                    .map_err(|e| format!("{}: {e}", key.display()))?;
                (certificates(cert)?, key_der)
            }
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(path)? {
                    roots
                        .add(root)
                        .map_err(|e| format!("{}: {e}", path.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|e| format!("{}: {e}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| format!("the certificate and its key do not serve: {e}"))?;
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

fn self_signed() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(names).map_err(|e| format!("no certificate: {e}"))?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    Ok((vec![cert.der().clone()], key))
}

/// All certificates of a PEM file, of which there must be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |e: rustls_pki_types::pem::Error| format!("{}: {e}", path.display());
    let list = CertificateDer::pem_file_iter(path).map_err(bad)?;
    let list: Vec<_> = list.collect::<Result<_, _>>().map_err(bad)?;
    match list.is_empty() {
        true => Err(format!("{}: no certificate in it", path.display())),
        false => Ok(list),
    }
}

/// What one connection agreed on, as the origin's JSON tells it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Session {
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) json: Value,
}

impl Session {
    /// Reads it from a connection whose handshake is done.
    pub(super) fn of(tls: &ServerConnection) -> Self {
        let alpn = tls.alpn_protocol();
        let version = tls.protocol_version().map(|v| match v {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            other => format!("{other:?}"),
        });
        let suite = tls.negotiated_cipher_suite();
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        let json = json!({
            "version": version,
            "cipher": suite.map(|s| format!("{:?}", s.suite())),
            "sni": tls.server_name(),
            "alpn": alpn.map(String::from_utf8_lossy),
            "resumed": tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            "clientNames": leaf.map(|leaf| names(leaf)),
        });
        Self {
            alpn: alpn.map(<[u8]>::to_vec),
            json,
        }
    }
}

/// The subject's alternative names of a certificate: hosts, URIs and addresses.
fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
        }
        _ => None,
    };
    let names = &extension.value.general_names;
    names.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_names_this_machine() {
        let (chain, _) = self_signed().unwrap();
        assert_eq!(names(&chain[0]), ["localhost", "127.0.0.1", "::1"]);
        assert!(names(b"no certificate").is_empty());
    }

    #[test]
    fn what_does_not_serve_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let made = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let other = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let [cert, key, wrong, empty] =
            ["a.crt", "a.key", "b.key", "empty"].map(|n| dir.path().join(n));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&wrong, other.signing_key.serialize_pem()).unwrap();
        std::fs::write(&empty, "").unwrap();
        let build = |cert: &Path, key: &Path, ca: Option<&Path>| {
            let own = Own::Files { cert, key };
            Tls::build(own, &["h2".to_owned()], ca).map(|_| ())
        };
        assert_eq!(build(&cert, &key, None), Ok(()));
        assert_eq!(build(&cert, &key, Some(&cert)), Ok(()));
        for (cert, key, ca, part) in [
            (&cert, &wrong, None, "do not serve"),
            (&empty, &key, None, "empty"),
            (&cert, &empty, None, "empty"),
            (&cert, &key, Some(empty.as_path()), "empty"),
        ] {
            let why = build(cert, key, ca).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
