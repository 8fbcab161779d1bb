//! Why an authority cannot be used. Each text names the file and what to look at next.

use std::io;
use std::path::{Path, PathBuf};

use weir_config::model::TrustDomain;

use crate::records::RecordsError;

/// Why an authority cannot be opened, or a rotation not taken further.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(
        "{} makes no sense: {why}; put it back from a copy, or move the whole directory away, and every workload then needs a new token",
        path.display()
    )]
    State { path: PathBuf, why: String },
    #[error("there is no certificate in {}; it is PEM text with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    #[error("there is no private key in {}; it is PEM text with -----BEGIN PRIVATE KEY-----, not encrypted", .0.display())]
    NoKey(PathBuf),
    #[error("{} and {} do not fit; check that the key belongs to the first certificate of the file", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf },
    #[error(
        "the key in {} is neither ECDSA (P-256, P-384) nor Ed25519; make an authority with such a key, also under a root of another kind",
        .0.display()
    )]
    Algorithm(PathBuf),
    #[error(
        "the certificate in {} is not an authority's: {why}; make it with basicConstraints CA:TRUE and keyUsage keyCertSign",
        path.display()
    )]
    NotAnAuthority { path: PathBuf, why: &'static str },
    #[error("the certificate in {} has ended; give one that still holds", .0.display())]
    Ended(PathBuf),
    #[error("the certificate in {} does not hold yet; check this machine's clock", .0.display())]
    NotYet(PathBuf),
    #[error(
        "what the certificate in {} signs is not believed by those who trust {}: {why}; the file of the certificate holds those \
         between it and the root after it, and mesh.ca.root the root",
        cert.display(), root.display()
    )]
    Chain {
        cert: PathBuf,
        root: PathBuf,
        why: String,
    },
    #[error(
        "{} is not a root, it was signed by another: name the root above it as mesh.ca.root",
        .0.display()
    )]
    NoRoot(PathBuf),
    #[error(
        "{} is of {named:?}, and mesh.trustDomain is {domain}; set it back, or move the directory away, and every workload then \
         needs a new token",
        path.display()
    )]
    OtherDomain {
        path: PathBuf,
        named: String,
        domain: TrustDomain,
    },
    #[error(
        "a mesh needs a place for its root: set stateDir, or give an authority as files with mesh.ca"
    )]
    NoPlace,
    #[error("the authority cannot make a certificate: {0}")]
    Library(#[from] rcgen::Error),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl OpenError {
    pub(crate) fn file(path: &Path, error: io::Error) -> Self {
        Self::File {
            path: path.to_path_buf(),
            error,
        }
    }
}
