//! What a compilation leaves to the next: the last good certificates, and the one for development.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::development::Development;
use crate::model::{Certificate, Roots, Source};
use crate::references::Held;

/// The certificates and authorities that the last compilation found good, by the files they are of.
///
/// With it ([`crate::compile_after`]) a file that turns bad does not take out what was read from it before. It also
/// spares reading again what has not changed.
#[derive(Clone, Default)]
pub struct Memory {
    pub(super) pairs: BTreeMap<Files, Known<Certificate>>,
    pub(super) roots: BTreeMap<Files, Known<Roots>>,
    /// The pairs that a directory held.
    pub(super) directories: BTreeMap<PathBuf, Vec<Files>>,
    pub(super) development: Option<Development>,
}

/// Paths that are read together: certificate and key, or those of authorities.
pub(super) type Files = Vec<PathBuf>;

/// What files held, and what was made of it.
#[derive(Clone)]
pub(super) struct Known<T> {
    pub(super) held: Vec<Held>,
    pub(super) made: Arc<T>,
}

impl Memory {
    /// The key and the certificates made for development as PEM text, to be kept over a restart: a browser that was told
    /// to accept one would ask again for each new one. `None`: none was asked for.
    #[must_use]
    pub fn development(&self) -> Option<String> {
        self.development.as_ref().map(Development::to_pem)
    }

    /// A memory that begins with what [`Memory::development`] gave; text that is anything else counts as none.
    #[must_use]
    pub fn with_development(pem: &str) -> Self {
        Self {
            development: Development::from_pem(pem),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Memory {
    /// Counts only: it holds keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("pairs", &self.pairs.len())
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

/// Something that turned bad and is in force as it was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The file of a certificate or of an OCSP answer, or the files of authorities.
    pub name: String,
    /// What is wrong with what is there now.
    pub reason: String,
    /// Where the configuration names it.
    pub source: Source,
}
