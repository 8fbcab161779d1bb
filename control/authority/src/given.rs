//! An authority that is given as files: a root of one's own, or an intermediate under it.

use std::path::Path;

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use webpki::KeyUsage;
use weir_config::model::{SpiffeId, TrustDomain};
use weir_config::settings::MeshCa;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ca::{Ca, Random, Wanted, fresh_key, validity};
use crate::error::OpenError;
use crate::files;

/// What the files hold, to see that they changed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    root: Option<Vec<u8>>,
}

/// An authority of files.
pub(crate) struct Given {
    pub(crate) ca: Ca,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// How it comes that others can read the key, if they can.
    pub(crate) exposed: Option<OpenError>,
}

/// Reads the files.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn contents(files: &MeshCa) -> Result<Contents, OpenError> {
    let read = |path: &Path| files::read(path).map_err(|error| OpenError::file(path, error));
    Ok(Contents {
        cert: read(&files.cert)?,
        key: read(&files.key)?,
        root: files.root.as_deref().map(read).transpose()?,
    })
}

/// Makes an authority of what was read, if those who trust the roots would believe what it signs.
///
/// # Errors
/// [`OpenError`] names the file and what to check.
pub(crate) fn build(
    files: &MeshCa,
    contents: &Contents,
    domain: &TrustDomain,
    now: i64,
    random: &Random,
) -> Result<Given, OpenError> {
    let chain = certificates(&files.cert, &contents.cert)?;
    let key = key(&files.key, &contents.key)?;
    check(&files.cert, &chain[0], now)?;
    if !crate::verify::fits(&chain[0], &key) {
        return Err(OpenError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
        });
    }
    let roots = match (&files.root, &contents.root) {
        (Some(path), Some(bytes)) => certificates(path, bytes)?,
        _ if signed_itself(&chain[0]) => vec![chain[0].clone()],
        _ => return Err(OpenError::NoRoot(files.cert.clone())),
    };
    let given = Given {
        ca: Ca::of(chain, key)?,
        roots,
        // Of a secret that somebody else puts there, its mode may be no choice of who runs this: no reason to stop.
        exposed: files::check_private(&files.key, "600")
            .err()
            .map(|error| OpenError::file(&files.key, error)),
    };
    let chained = probe(&given, domain, now, random);
    chained.map_err(|why| OpenError::Chain {
        cert: files.cert.clone(),
        root: files.root.clone().unwrap_or_else(|| files.cert.clone()),
        why,
    })?;
    Ok(given)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| OpenError::NoCertificate(path.to_path_buf()))
}

fn key(path: &Path, pem: &[u8]) -> Result<KeyPair, OpenError> {
    let none = || OpenError::NoKey(path.to_path_buf());
    let der = rustls_pki_types::PrivateKeyDer::from_pem_slice(pem).map_err(|_| none())?;
    let key = KeyPair::try_from(&der).map_err(|_| none())?;
    let known = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ];
    match known.into_iter().any(|known| key.is_compatible(known)) {
        true => Ok(key),
        false => Err(OpenError::Algorithm(path.to_path_buf())),
    }
}

fn check(path: &Path, der: &CertificateDer<'_>, now: i64) -> Result<(), OpenError> {
    let not = |why| OpenError::NotAnAuthority {
        path: path.to_path_buf(),
        why,
    };
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Err(OpenError::NoCertificate(path.to_path_buf()));
    };
    if !certificate.is_ca() {
        return Err(not("its basic constraints do not say CA:TRUE"));
    }
    if let Ok(Some(usage)) = certificate.key_usage()
        && !usage.value.key_cert_sign()
    {
        return Err(not("its key usage does not hold keyCertSign"));
    }
    match validity(der) {
        Some((_, not_after)) if not_after < now => Err(OpenError::Ended(path.to_path_buf())),
        Some((not_before, _)) if not_before > now => Err(OpenError::NotYet(path.to_path_buf())),
        _ => Ok(()),
    }
}

fn signed_itself(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        certificate.issuer() == certificate.subject() && certificate.verify_signature(None).is_ok()
    })
}

/// Signs something and looks at it as a workload would.
fn probe(given: &Given, domain: &TrustDomain, now: i64, random: &Random) -> Result<(), String> {
    let (key, _) = fresh_key().map_err(|error| error.to_string())?;
    let wanted = Wanted {
        id: &SpiffeId::of_control(domain),
        names: &[],
        lifetime: 60,
        now,
    };
    let leaf = given.ca.sign(&wanted, &key, random);
    let mut chain = vec![leaf.map_err(|error| error.to_string())?.der];
    chain.extend(given.ca.chain.iter().cloned());
    crate::verify::check(&chain, &given.roots, now, KeyUsage::client_auth())
}

#[cfg(test)]
mod tests;
