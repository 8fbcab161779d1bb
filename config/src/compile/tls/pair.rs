//! A certificate and its key: read together, and believed only if they belong together.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::pem::{self, Complaint};
use crate::model::{Certificate, PrivateKey, Source};

/// Most certificates that a server shows: no client follows longer chains.
const MAX_CHAIN: usize = 10;

/// Which of the two files a complaint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Cert,
    Key,
}

/// Reads a certificate with its chain, and the key that belongs to it.
pub(super) fn read(
    name: String,
    cert: &[u8],
    key: &[u8],
    source: Source,
) -> Result<Certificate, (Part, Complaint)> {
    let of_cert = |complaint| (Part::Cert, complaint);
    let of_key = |complaint| (Part::Key, complaint);
    let chain = pem::certificates(cert).map_err(of_cert)?;
    if chain.len() > MAX_CHAIN {
        let message = format!("it holds {} certificates", chain.len());
        let help = "the certificate and those that lead to its authority are enough, at most 10";
        return Err(of_cert((message, help)));
    }
    let key = pem::key(key).map_err(of_key)?;
    let signer = any_supported_type(&key).map_err(|_| {
        let help = "RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521 and Ed25519 are";
        of_key((
            "its key is of a kind that is not supported".to_owned(),
            help,
        ))
    })?;
    belong_together(&chain, signer)?;
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| of_cert(unreadable()))?;
    Ok(Certificate {
        name,
        names: names(&parsed),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        issuer: parsed.issuer().to_string(),
        serial: parsed.raw_serial_as_string(),
        fingerprint: Sha256::digest(leaf).into(),
        ocsp: None,
        source,
        key: PrivateKey::new(key),
        chain,
    })
}

fn unreadable() -> Complaint {
    let help = "make it again; an X.509 certificate of version 3 is read";
    ("its first certificate cannot be read".to_owned(), help)
}

/// Whether the key is that of the first certificate.
fn belong_together(
    chain: &[Vec<u8>],
    signer: Arc<dyn SigningKey>,
) -> Result<(), (Part, Complaint)> {
    let matches = |der: &[u8]| {
        let chain = vec![CertificateDer::from(der).into_owned()];
        CertifiedKey::new(chain, Arc::clone(&signer)).keys_match()
    };
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    match matches(leaf) {
        Ok(()) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let belongs = |der: &Vec<u8>| matches(der).is_ok();
            let message = "the key does not belong to the certificate".to_owned();
            let help = match chain.iter().position(belongs) {
                Some(_) => "it belongs to a later certificate of the file: put that one first",
                None => {
                    "they are of two requests; take the key that the certificate was asked for with"
                }
            };
            Err((Part::Key, (message, help)))
        }
        Err(_) => Err((Part::Cert, unreadable())),
    }
}

/// Subject alternative names that a client can ask for. The common name is none: no client has read it for years.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension.iter().flat_map(|san| &san.value.general_names);
    let mut names: Vec<String> = all
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok()
}
