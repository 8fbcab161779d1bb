//! Verifying endpoints' certificates otherwise than by the name that was asked for.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use weir_config::model::AltName;

use crate::tls::certificate::identity;
use crate::tls::provider::provider;

/// What makes a certificate good.
#[derive(Debug)]
pub(super) enum Verifier {
    /// The chain must be good, and the certificate for one of these names (Gateway API,
    /// `BackendTLSPolicy.validation.subjectAltNames`).
    OneOf {
        roots: Arc<RootCertStore>,
        names: Vec<AltName>,
    },
    /// Any will do, as long as its key is the one that signs.
    Anyone,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self::OneOf { roots, names } = self else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        match has_name(certificate, names)? {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn has_name(der: &CertificateDer<'_>, names: &[AltName]) -> Result<bool, Error> {
    let certificate = webpki::EndEntityCert::try_from(der)
        .map_err(|_| Error::from(CertificateError::BadEncoding))?;
    Ok(names.iter().any(|name| match name {
        AltName::Dns(name) => certificate
            .valid_dns_names()
            .any(|shown| is_for(shown, name)),
        // A workload has one id (X509-SVID, section 2): with another beside it, it is nobody.
        AltName::Uri(uri) if uri.starts_with("spiffe://") => {
            identity(der).is_some_and(|id| id.as_str() == uri)
        }
        AltName::Uri(uri) => certificate.valid_uri_names().any(|shown| shown == uri),
    }))
}

/// Whether a DNS name of a certificate is this one, or a wildcard for its first label (RFC 9525, section 6.3), as Envoy's
/// `match_typed_subject_alt_names` has it.
fn is_for(shown: &str, name: &str) -> bool {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let rest = name.split_once('.').filter(|(label, _)| !label.is_empty());
    let wildcard = shown.strip_prefix("*.").zip(rest);
    same(shown, name) || wildcard.is_some_and(|(shown, (_, rest))| same(shown, rest))
}
