//! The identity on disk, so that a restart needs no new token.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Name of the file.
const FILE: &str = "identity.json";
/// A larger one was not written by Weir.
const MAX_BYTES: u64 = 1 << 20;

/// As it is written; DER in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    /// Milliseconds since 1970.
    received: i64,
    chain: Vec<String>,
    key: String,
    bundle: Vec<String>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    path: PathBuf,
}

impl Last {
    /// In a directory, which is made for this user alone where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self {
            path: dir.join(FILE),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept last, and when it was received; `None` where there is nothing.
    ///
    /// # Errors
    /// When there is something and it cannot be used, or others can read it.
    pub(crate) fn read(&self) -> io::Result<Option<(Identity, i64)>> {
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        if meta.permissions().mode() & 0o077 != 0 {
            let mode = meta.permissions().mode() & 0o777;
            return Err(bad(format!(
                "others can read the key in it (mode {mode:o}); run chmod 600 on it"
            )));
        }
        if meta.len() > MAX_BYTES {
            return Err(bad("it is larger than 1 MiB".into()));
        }
        let written: Written = serde_json::from_slice(&std::fs::read(&self.path)?)
            .map_err(|error| bad(error.to_string()))?;
        let received = written.received;
        let identity = written.identity().map_err(bad)?;
        Ok(Some((identity, received)))
    }

    /// Keeps one: either all of it is there afterwards, also after a crash, or what was there before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, identity: &Identity, received: i64) -> io::Result<()> {
        let encode = |ders: &[Vec<u8>]| ders.iter().map(|der| STANDARD.encode(der)).collect();
        let written = Written {
            received,
            chain: encode(&identity.chain),
            key: STANDARD.encode(identity.key.der().secret_der()),
            bundle: encode(&identity.bundle),
        };
        let bytes = serde_json::to_vec(&written)?;
        weir_files::replace(&self.path, &bytes)
    }
}

impl Written {
    fn identity(self) -> Result<Identity, String> {
        let decode = |text: &String| STANDARD.decode(text).map_err(|error| error.to_string());
        let all = |texts: &[String]| texts.iter().map(decode).collect::<Result<Vec<_>, _>>();
        let key = PrivatePkcs8KeyDer::from(decode(&self.key)?);
        let key = PrivateKeyDer::from(key);
        Identity::new(all(&self.chain)?, key, all(&self.bundle)?).map_err(|error| error.to_string())
    }
}
