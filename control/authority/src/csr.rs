//! What is taken from a request for a certificate (PKCS #10, RFC 2986): the public key, and that whoever asks has the private one.
//!
//! Names, extensions and all else that a request may hold is not even looked at: who somebody is, is decided by what they prove
//! and not by what they write.

use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use sha2::{Digest as _, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Bytes of a request; one with a P-256 key has some 250.
pub const MAX_CSR: usize = 8 * 1024;

/// Why a request for a certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    #[error("the request is larger than 8 KiB")]
    TooLarge,
    #[error("the request is not a PKCS #10 certification request in DER")]
    Malformed,
    #[error(
        "its key is neither ECDSA P-256 nor Ed25519; make one with `openssl ecparam -name prime256v1 -genkey`"
    )]
    Algorithm,
    #[error(
        "its signature does not fit its key: whoever sent it has not shown that the private key is theirs"
    )]
    Signature,
}

/// The public key of a request whose signature was checked.
#[derive(Debug, Clone)]
pub struct RequestedKey(pub(crate) SubjectPublicKeyInfo);

impl RequestedKey {
    /// Takes the key out of a request.
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn read(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR {
            return Err(CsrError::TooLarge);
        }
        let Ok((rest, request)) = X509CertificationRequest::from_der(der) else {
            return Err(CsrError::Malformed);
        };
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let spki = &request.certification_request_info.subject_pki;
        // The algorithm first: what it costs to check a signature is up to whoever chose the key.
        let key = SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| CsrError::Algorithm)?;
        let raw = key.der_bytes();
        let p256 =
            key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 && raw.len() == 65 && raw[0] == 4;
        let ed25519 = key.algorithm() == &rcgen::PKCS_ED25519 && raw.len() == 32;
        if !p256 && !ed25519 {
            return Err(CsrError::Algorithm);
        }
        request
            .verify_signature()
            .map_err(|_| CsrError::Signature)?;
        Ok(Self(key))
    }

    /// What tells this key from all others.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.subject_public_key_info()).into()
    }
}

#[cfg(test)]
mod tests;
