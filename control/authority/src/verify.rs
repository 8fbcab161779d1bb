//! Looking at certificates: does a key fit, and who is somebody that shows a chain.

use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyUsage};
use weir_config::model::SpiffeId;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The URIs in a certificate's subject alternative names.
pub(crate) fn uris(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

/// Whether a key is the one of a certificate.
pub(crate) fn fits(der: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    certificate.public_key().raw == key.subject_public_key_info()
}

/// Who a client is that shows this chain, if one of the roots vouches for it now.
///
/// # Errors
/// Why it is nobody.
pub(crate) fn client(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    now: i64,
) -> Result<SpiffeId, String> {
    check(chain, roots, now, KeyUsage::client_auth())?;
    weir_config::spiffe::id_of(&chain[0]).map_err(|invalid| invalid.to_string())
}

pub(crate) fn check(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    now: i64,
    usage: impl ExtendedKeyUsageValidator,
) -> Result<(), String> {
    let (own, between) = chain.split_first().ok_or("no certificate was shown")?;
    let own = EndEntityCert::try_from(own).map_err(|error| error.to_string())?;
    let anchors: Vec<_> = roots
        .iter()
        .filter_map(|der| webpki::anchor_from_trusted_cert(der).ok())
        .collect();
    let now = Duration::from_secs(u64::try_from(now).unwrap_or(0));
    let path = own.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        between,
        UnixTime::since_unix_epoch(now),
        usage,
        None,
        None,
    );
    path.map(drop).map_err(|error| error.to_string())
}
