//! One authority: its certificate, its key, and the certificates that it signs.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use weir_config::model::{SpiffeId, TrustDomain};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY: i64 = 24 * 3600;
/// How long a root that is made lives.
const ROOT_LIFETIME: i64 = 10 * 365 * DAY;
/// How far in the past a certificate begins, for clocks that are behind; a short one less.
const BACKDATE: i64 = 5 * 60;

/// Fills with random bytes that nobody can guess.
pub type Random = dyn Fn(&mut [u8]) + Send + Sync;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(
        "the authority's own certificate has ended; rotate the root with weir cert rotate, or give a newer one"
    )]
    Ended,
    #[error("{0}")]
    Id(#[from] weir_config::model::Invalid),
    #[error("the authority cannot sign: {0}")]
    Library(#[from] rcgen::Error),
}

/// A root or an intermediate with its key.
pub(crate) struct Ca {
    /// Its certificate first, then those between it and a root.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// A certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub der: CertificateDer<'static>,
    /// In hexadecimal.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

/// What a certificate is to say.
pub(crate) struct Wanted<'a> {
    pub(crate) id: &'a SpiffeId,
    /// DNS names and IP addresses beside it.
    pub(crate) names: &'a [String],
    pub(crate) lifetime: i64,
    pub(crate) now: i64,
}

impl Ca {
    /// Makes a root.
    ///
    /// # Errors
    /// When the library fails.
    pub(crate) fn make(
        domain: &TrustDomain,
        now: i64,
        random: &Random,
    ) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let serial = serial(random);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Weir");
        // Two roots of one trust domain are told apart by people and by those who build chains.
        let name = format!("{} root {}", shortened(domain.as_str()), &hex(&serial)[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let own = format!("spiffe://{domain}");
        params.subject_alt_names = vec![SanType::URI(own.try_into()?)];
        // A root that another one signed, while it takes its place, stands between that and the leaves.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let (not_before, not_after) = (now - BACKDATE, now + ROOT_LIFETIME);
        (params.not_before, params.not_after) = (time_of(not_before), time_of(not_after));
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            chain: vec![certificate.der().clone()],
            issuer: Issuer::new(params, key),
            not_before,
            not_after,
        })
    }

    /// Takes a certificate and its key, which were found to fit.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub(crate) fn of(
        chain: Vec<CertificateDer<'static>>,
        key: KeyPair,
    ) -> Result<Self, rcgen::Error> {
        let own = chain
            .first()
            .ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let (not_before, not_after) =
            validity(own).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let issuer = Issuer::from_ca_cert_der(own, key)?;
        Ok(Self {
            chain,
            issuer,
            not_before,
            not_after,
        })
    }

    /// Its certificate.
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// Whether a root signed it, or the last of those between them.
    pub(crate) fn is_under(&self, root: &CertificateDer<'_>) -> bool {
        let last = self.chain.last().unwrap_or(&self.chain[0]);
        let (Ok((_, last)), Ok((_, root))) = (
            X509Certificate::from_der(last),
            X509Certificate::from_der(root),
        ) else {
            return false;
        };
        last.verify_signature(Some(root.public_key())).is_ok()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Signs a certificate for a public key.
    ///
    /// # Errors
    /// [`SignError`].
    pub(crate) fn sign(
        &self,
        wanted: &Wanted<'_>,
        key: &impl PublicKeyData,
        random: &Random,
    ) -> Result<Leaf, SignError> {
        let serial = serial(random);
        let back = BACKDATE.min(wanted.lifetime);
        let not_before = (wanted.now - back).max(self.not_before);
        let not_after = (wanted.now + wanted.lifetime).min(self.not_after);
        if not_after <= wanted.now {
            return Err(SignError::Ended);
        }
        let mut params = CertificateParams::default();
        // Nothing to misread: who it is stands in the one URI, which is critical because there is no subject (RFC 5280, 4.1.2.6).
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(wanted.id.as_str().try_into()?)];
        for name in wanted.names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        (params.not_before, params.not_after) = (time_of(not_before), time_of(not_after));
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Leaf {
            der: certificate.der().clone(),
            serial: hex(&serial),
            not_before,
            not_after,
        })
    }

    /// The same authority under another one, so that those who trust only that one find a way to it.
    ///
    /// # Errors
    /// When the library fails.
    pub(crate) fn under(
        &self,
        other: &Self,
        random: &Random,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let (_, own) = X509Certificate::from_der(self.der())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, oid) in [
            (
                DnType::OrganizationName,
                x509_parser::oid_registry::OID_X509_ORGANIZATION_NAME,
            ),
            (
                DnType::CommonName,
                x509_parser::oid_registry::OID_X509_COMMON_NAME,
            ),
        ] {
            let parts = own.subject().iter_by_oid(&oid);
            for text in parts.filter_map(|part| part.as_str().ok()) {
                params.distinguished_name.push(kind.clone(), text);
            }
        }
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&serial(random)));
        params.not_before = time_of(self.not_before.max(other.not_before));
        params.not_after = time_of(self.not_after.min(other.not_after));
        let certificate = params.signed_by(self.issuer.key(), &other.issuer)?;
        Ok(certificate.der().clone())
    }
}

/// A fresh key, for a certificate of the control plane's own.
///
/// # Errors
/// When the library fails.
pub(crate) fn fresh_key() -> Result<(KeyPair, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((key, der.into()))
}

/// 16 random bytes of a positive number (RFC 5280, 4.1.2.2).
fn serial(random: &Random) -> [u8; 16] {
    let mut bytes = [0; 16];
    random(&mut bytes);
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    bytes
}

/// From when until when a certificate holds, in seconds since 1970.
pub(crate) fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// SHA-256 of a certificate.
#[must_use]
pub fn fingerprint(der: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// In lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn time_of(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A common name has at most 64 characters (RFC 5280, appendix A).
fn shortened(domain: &str) -> &str {
    domain.get(..40).unwrap_or(domain)
}
