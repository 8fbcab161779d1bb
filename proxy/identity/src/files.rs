//! An identity from files that somebody else writes and renews.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::identity::Identity;
use crate::keeper::Publisher;
use crate::schedule::End;
use crate::world::World;

/// How often the files are looked at, in milliseconds.
const LOOK: i64 = 2_000;
/// A larger file holds no certificate.
const MAX_BYTES: usize = 1 << 20;

/// The files, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromFiles {
    /// The certificate first, then those between it and a root.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The roots that are trusted.
    pub bundle: PathBuf,
}

/// What the files hold, to see that they changed.
#[derive(PartialEq, Eq)]
pub(crate) struct Seen([Vec<u8>; 3]);

/// Reads them for the first time.
///
/// # Errors
/// Names the file and what to check.
pub(crate) fn first(from: &FromFiles) -> Result<(Seen, Identity), String> {
    let seen = read(from)?;
    let identity = build(from, &seen)?;
    if let Ok(meta) = std::fs::metadata(&from.key)
        && meta.permissions().mode() & 0o077 != 0
    {
        let (key, mode) = (from.key.display(), meta.permissions().mode() & 0o777);
        tracing::warn!(
            "others on this machine can read the key in {key} (mode {mode:o}); chmod 600 would keep it to this user"
        );
    }
    Ok((seen, identity))
}

/// Looks at them for as long as the task lives. What is not whole is not taken: files are often replaced one after the other.
pub(crate) async fn follow(from: FromFiles, mut seen: Seen, publisher: Publisher, world: World) {
    let mut refused = String::new();
    let mut received = world.now_ms();
    let mut warned = End::Far;
    let mut not_after = publisher.status().standing().not_after.unwrap_or(0) * 1000;
    loop {
        world.sleep_ms(LOOK).await;
        let end = End::of(received, not_after, world.now_ms());
        if end != warned && end != End::Far {
            tracing::error!(cert = %from.cert.display(), "the certificate ends soon or has ended, and nobody renewed its file");
        }
        warned = end;
        let now = read(&from).and_then(|now| match now == seen {
            true => Ok(None),
            false => build(&from, &now).map(|identity| Some((now, identity))),
        });
        match now {
            Ok(None) => {
                if !refused.is_empty() {
                    refused.clear();
                    publisher.status().mended();
                }
            }
            Ok(Some((now, identity))) => {
                seen = now;
                refused.clear();
                (received, not_after) = (world.now_ms(), identity.not_after * 1000);
                publisher.status().renewed();
                tracing::info!(id = %identity.id, not_after = identity.not_after, "the identity was read again");
                publisher.publish(Arc::new(identity));
            }
            Err(why) => {
                if why != refused {
                    publisher.status().failed(&why);
                    tracing::warn!("{why}; what was read before stays in force");
                    refused = why;
                }
            }
        }
    }
}

fn read(from: &FromFiles) -> Result<Seen, String> {
    let read = |path: &Path| match std::fs::read(path) {
        Ok(bytes) if bytes.len() > MAX_BYTES => {
            Err(format!("{} is larger than 1 MiB", path.display()))
        }
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    };
    Ok(Seen([
        read(&from.cert)?,
        read(&from.key)?,
        read(&from.bundle)?,
    ]))
}

fn build(from: &FromFiles, seen: &Seen) -> Result<Identity, String> {
    let [cert, key, bundle] = &seen.0;
    let chain = certificates(&from.cert, cert)?;
    let bundle = certificates(&from.bundle, bundle)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        format!(
            "there is no private key in {}; it is PEM text, not encrypted",
            from.key.display()
        )
    })?;
    Identity::new(chain, key, bundle).map_err(|error| {
        format!(
            "{}, {} and {} make no identity: {error}",
            from.cert.display(),
            from.key.display(),
            from.bundle.display()
        )
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all.into_iter().map(|der| der.to_vec()).collect()),
        _ => Err(format!(
            "there is no certificate in {}; it is PEM text",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests;
