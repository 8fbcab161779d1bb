//! TLS: certificates and authorities from the files that were read, listeners and services that use them.

mod backend;
mod development;
mod keyring;
mod listener;
mod memory;
mod pair;
mod pem;

pub(super) use backend::{ClientTls, backend, client_tls};
pub(super) use development::add_self_signed;
pub(super) use keyring::Keyring;
pub(super) use listener::{is_self_signed, listener};
pub use memory::{Kept, Memory};

/// Certificates and authorities out of PEM text, for those that come in another way than by files.
pub mod text {
    use super::{pair, pem};
    use crate::model::{Certificate, Roots, Source};

    /// A certificate with its chain, and the key that belongs to it.
    ///
    /// # Errors
    /// What is wrong with which of the two, and what to do about it.
    pub fn certificate(
        name: String,
        cert: &[u8],
        key: &[u8],
        ocsp: Option<&[u8]>,
        source: Source,
    ) -> Result<Certificate, String> {
        pair::read(name, cert, key, ocsp, source).map_err(|(part, (message, help))| {
            let part = match part {
                pair::Part::Cert => "certificate",
                pair::Part::Key => "key",
            };
            format!("holds a {part} that cannot be used: {message} ({help})")
        })
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
