//! TLS: certificates and authorities from the files that were read, listeners and services that use them.

mod backend;
mod development;
mod keyring;
mod listener;
mod memory;
mod ocsp;
mod pair;
mod pem;

pub(super) use backend::{ClientTls, backend, client_tls};
pub(super) use development::add_self_signed;
pub(super) use keyring::Keyring;
pub(super) use listener::{is_self_signed, listener};
pub use memory::{Kept, Memory};

/// Certificates and authorities out of PEM text, for those that come in another way than by files.
pub mod text {
    use super::{ocsp, pair, pem};
    use crate::model::{Certificate, Roots, Source};

    /// A certificate with its chain, the key that belongs to it, and an answer of its authority's OCSP responder in DER. Whether
    /// that holds now is not looked at.
    ///
    /// # Errors
    /// What is wrong with which of them, and what to do about it.
    pub fn certificate(
        name: String,
        cert: &[u8],
        key: &[u8],
        ocsp: Option<&[u8]>,
        source: Source,
    ) -> Result<Certificate, String> {
        let complaint = |part: &str, (message, help): pem::Complaint| {
            format!("holds {part} that cannot be used: {message} ({help})")
        };
        let mut read = pair::read(name, cert, key, source).map_err(|(part, wrong)| match part {
            pair::Part::Cert => complaint("a certificate", wrong),
            pair::Part::Key => complaint("a key", wrong),
        })?;
        let leaf = read.chain.first().map(Vec::as_slice).unwrap_or_default();
        let answer = ocsp.map(|der| ocsp::read(der, leaf)).transpose();
        read.ocsp = answer.map_err(|wrong| complaint("an OCSP answer", wrong))?;
        Ok(read)
    }

    /// The authorities of one text.
    ///
    /// # Errors
    /// What is wrong with it, and what to do about it.
    pub fn roots(source: String, text: &[u8]) -> Result<Roots, String> {
        let read = pem::certificates(text);
        let complaint = |(message, help)| format!("holds no authorities: {message} ({help})");
        read.map(|ders| Roots { ders, source }).map_err(complaint)
    }
}
