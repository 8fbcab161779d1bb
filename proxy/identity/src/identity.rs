//! Who a workload is, with all that proves it.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};
use weir_config::model::{Certificate, PrivateKey, Roots, Source, SpiffeId};
use weir_config::spiffe::{bundle_digest, id_of};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::key::public_of;

/// A certificate with its key, and what is trusted. A value that exists fits together: the key is the certificate's, and one of
/// the roots vouches for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: SpiffeId,
    /// In DER, the certificate first. Never empty.
    pub chain: Vec<Vec<u8>>,
    pub key: PrivateKey,
    /// The roots, in DER. Never empty.
    pub bundle: Vec<Vec<u8>>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970; the second itself is still valid.
    pub not_after: i64,
}

/// Why a certificate, a key and roots are no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    #[error("there is no certificate")]
    NoCertificate,
    #[error("{0}")]
    Id(#[from] weir_config::model::Invalid),
    #[error("the key is not that of the certificate")]
    Key,
    #[error("there is no root to trust")]
    NoRoot,
    #[error("none of the roots vouches for the certificate: {0}")]
    Chain(String),
}

impl Identity {
    /// Puts one together.
    ///
    /// # Errors
    /// [`BadIdentity`]. That the certificate has ended is no error: it may be about to be replaced.
    pub fn new(
        chain: Vec<Vec<u8>>,
        key: PrivateKeyDer<'static>,
        bundle: Vec<Vec<u8>>,
    ) -> Result<Self, BadIdentity> {
        let own = chain.first().ok_or(BadIdentity::NoCertificate)?;
        let id = id_of(own)?;
        let Ok((_, parsed)) = X509Certificate::from_der(own) else {
            return Err(BadIdentity::NoCertificate);
        };
        if public_of(&key).as_deref() != Some(parsed.public_key().raw) {
            return Err(BadIdentity::Key);
        }
        let validity = parsed.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        check_chain(&chain, &bundle, not_before, not_after)?;
        Ok(Self {
            id,
            chain,
            key: PrivateKey::new(key),
            bundle,
            not_before,
            not_after,
        })
    }

    /// The same with other roots.
    ///
    /// # Errors
    /// [`BadIdentity`] when those do not vouch for it.
    pub fn with_bundle(&self, bundle: Vec<Vec<u8>>) -> Result<Self, BadIdentity> {
        Self::new(self.chain.clone(), self.key.der(), bundle)
    }

    /// The certificate as a listener or a service of the model has it.
    #[must_use]
    pub fn certificate(&self) -> Arc<Certificate> {
        let own = &self.chain[0];
        let parsed = X509Certificate::from_der(own).ok();
        let parsed = parsed.as_ref().map(|(_, parsed)| parsed);
        Arc::new(Certificate {
            name: self.id.to_string(),
            chain: self.chain.clone(),
            key: self.key.clone(),
            names: Vec::new(),
            not_before: self.not_before,
            not_after: self.not_after,
            issuer: parsed.map(|it| it.issuer().to_string()).unwrap_or_default(),
            serial: parsed
                .map(|it| it.raw_serial_as_string())
                .unwrap_or_default(),
            fingerprint: Sha256::digest(own).into(),
            ocsp: None,
            source: Source::Other("the mesh".into()),
        })
    }

    /// What is trusted, as the model has it.
    #[must_use]
    pub fn roots(&self) -> Arc<Roots> {
        Arc::new(Roots {
            ders: self.bundle.clone(),
            source: format!("the mesh {}", self.id.trust_domain()),
        })
    }

    /// What tells its roots from others.
    #[must_use]
    pub fn bundle_digest(&self) -> String {
        bundle_digest(self.bundle.iter().map(Vec::as_slice))
    }

    /// Whether it holds at that time, in seconds since 1970.
    #[must_use]
    pub fn holds(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .field("roots", &self.bundle.len())
            .finish_non_exhaustive()
    }
}

/// At a time at which the certificate itself holds.
fn check_chain(
    chain: &[Vec<u8>],
    bundle: &[Vec<u8>],
    not_before: i64,
    not_after: i64,
) -> Result<(), BadIdentity> {
    let mut roots = RootCertStore::empty();
    for der in bundle {
        let added = roots.add(CertificateDer::from(der.as_slice()));
        added.map_err(|error| BadIdentity::Chain(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(BadIdentity::NoRoot);
    }
    let chain: Vec<_> = chain
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let fail = |error: rustls::Error| BadIdentity::Chain(error.to_string());
    let own = ParsedCertificate::try_from(&chain[0]).map_err(fail)?;
    let middle = not_before.midpoint(not_after);
    let at = std::time::Duration::from_secs(u64::try_from(middle).unwrap_or(0));
    rustls::client::verify_server_cert_signed_by_trust_anchor(
        &own,
        &roots,
        &chain[1..],
        UnixTime::since_unix_epoch(at),
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all,
    )
    .map_err(fail)
}

#[cfg(test)]
mod tests;
