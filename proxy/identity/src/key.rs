//! A fresh key, and the request for a certificate that is signed with it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An ECDSA key on P-256 that nobody has a certificate for yet.
pub(crate) struct Fresh {
    pair: KeyPair,
}

impl Fresh {
    pub(crate) fn make() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { pair })
    }

    /// A request that names nobody: who this is, is proved in another way.
    pub(crate) fn request(&self) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.pair)?.der().to_vec())
    }

    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }
}

/// The public half, as it stands in a certificate.
pub(crate) fn public_of(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    Some(KeyPair::try_from(key).ok()?.subject_public_key_info())
}
