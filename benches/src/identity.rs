//! The certificate that every proxy shows: one P-256 leaf, signed by itself.

use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};

/// Its files.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one, as HAProxy wants them.
    pub(crate) both: PathBuf,
}

impl Identity {
    /// Makes one for `localhost` and 127.0.0.1.
    pub(crate) fn make(dir: &Path) -> anyhow::Result<Self> {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        let (cert, key) = (cert.pem(), signing_key.serialize_pem());
        let identity = Self {
            cert: dir.join("tls.crt"),
            key: dir.join("tls.key"),
            both: dir.join("both.pem"),
        };
        std::fs::write(&identity.cert, &cert)?;
        std::fs::write(&identity.key, &key)?;
        std::fs::write(&identity.both, cert + &key)?;
        Ok(identity)
    }
}
