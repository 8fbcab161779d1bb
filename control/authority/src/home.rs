//! The directory of an authority that Weir made: roots, keys, and what they are for.
//!
//! `authority.json` is what counts. A root is written before it is named there, and taken away after it no longer is, so that a
//! crash at any moment leaves a state that is whole; what nobody names is swept at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use weir_config::model::TrustDomain;

use crate::ca::{Ca, Random, fingerprint, hex};
use crate::error::OpenError;
use crate::files;
use crate::rotation::{Phase, State};

const STATE: &str = "authority.json";
/// There for as long as every certificate that was signed is written down. A disk that is full lets it be taken away, where nothing
/// could be added.
const WHOLE: &str = "records-whole";
/// Digits of a root's fingerprint that name it.
pub(crate) const ID: usize = 16;

/// The directory, with what it holds.
pub(crate) struct Home {
    dir: PathBuf,
    domain: TrustDomain,
    pub(crate) state: State,
    pub(crate) roots: BTreeMap<String, Arc<Ca>>,
}

/// What a directory is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) domain: &'a TrustDomain,
    pub(crate) lifetime: i64,
    pub(crate) now: i64,
    pub(crate) random: &'a Random,
}

impl Home {
    /// Opens the directory, and makes a root where there is none.
    ///
    /// # Errors
    /// [`OpenError`] names the file and what to check.
    pub(crate) fn open(dir: &Path, with: &Opening<'_>) -> Result<Self, OpenError> {
        let fail = |error| OpenError::file(dir, error);
        files::private_dir(dir).map_err(fail)?;
        let path = dir.join(STATE);
        let state =
            match files::read(&path) {
                Ok(bytes) => Some(serde_json::from_slice::<State>(&bytes).map_err(|error| {
                    OpenError::State {
                        path: path.clone(),
                        why: error.to_string(),
                    }
                })?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(OpenError::file(&path, error)),
            };
        let mut home = match state {
            Some(state) => Self::load(dir, with, state)?,
            None => Self::first(dir, with)?,
        };
        home.check()?;
        home.commit(home.state.with_lifetime(with.now, with.lifetime))?;
        Ok(home)
    }

    /// The first start, or one after a crash in the first.
    fn first(dir: &Path, with: &Opening<'_>) -> Result<Self, OpenError> {
        let there = stored(dir).map_err(|error| OpenError::file(dir, error))?;
        let (id, root) = match &there[..] {
            [] => {
                let root = Arc::new(Ca::make(with.domain, with.now, with.random)?);
                (save(dir, &root)?, root)
            }
            [only] => (only.clone(), Arc::new(read(dir, only)?)),
            _ => {
                return Err(OpenError::State {
                    path: dir.join(STATE),
                    why: format!("it is missing, and {} roots are there", there.len()),
                });
            }
        };
        let state = State::steady(id.clone(), with.now, with.lifetime);
        let mut home = Self {
            dir: dir.to_path_buf(),
            domain: with.domain.clone(),
            state: state.clone(),
            roots: BTreeMap::from([(id, root)]),
        };
        home.write(&state)?;
        home.state = state;
        Ok(home)
    }

    fn load(dir: &Path, with: &Opening<'_>, state: State) -> Result<Self, OpenError> {
        let mut roots = BTreeMap::new();
        for id in state.trusted() {
            roots.insert(id.to_owned(), Arc::new(read(dir, id)?));
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            domain: with.domain.clone(),
            state,
            roots,
        })
    }

    /// That every root is of the trust domain that is configured: certificates of another one would be refused by all.
    fn check(&self) -> Result<(), OpenError> {
        let own = format!("spiffe://{}", self.domain);
        for (id, root) in &self.roots {
            let named = crate::verify::uris(root.der());
            if named.first() != Some(&own) {
                return Err(OpenError::OtherDomain {
                    path: certificate_path(&self.dir, id),
                    named: named.join(", "),
                    domain: self.domain.clone(),
                });
            }
        }
        Ok(())
    }

    /// Makes a root that is to come.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub(crate) fn prepare(&mut self, now: i64, random: &Random) -> Result<String, OpenError> {
        let root = Arc::new(Ca::make(&self.domain, now, random)?);
        let id = save(&self.dir, &root)?;
        self.roots.insert(id.clone(), root);
        Ok(id)
    }

    /// Puts a state in force: it is on disk before anything acts by it.
    ///
    /// # Errors
    /// When it cannot be written; what was in force stays.
    pub(crate) fn commit(&mut self, state: State) -> Result<(), OpenError> {
        if state != self.state {
            self.write(&state)?;
            self.state = state;
        }
        self.sweep();
        Ok(())
    }

    fn write(&self, state: &State) -> Result<(), OpenError> {
        let path = self.dir.join(STATE);
        let bytes = serde_json::to_vec_pretty(state).unwrap_or_default();
        weir_files::replace(&path, &bytes).map_err(|error| OpenError::file(&path, error))
    }

    /// Takes away what the state does not name. That it fails is no reason to stop: the next start tries again.
    fn sweep(&mut self) {
        let named: Vec<String> = self.state.trusted().into_iter().map(Into::into).collect();
        self.roots.retain(|id, _| named.contains(id));
        let there = written(&self.dir).unwrap_or_default();
        for (id, path) in there.iter().filter(|(id, _)| !named.contains(id)) {
            let path_shown = path.display();
            match weir_files::remove(path) {
                Ok(()) => {
                    tracing::info!(root = id, path = %path_shown, "what is left of a root that is not used was removed");
                }
                Err(error) => {
                    tracing::warn!(root = id, path = %path_shown, %error, "what is left of a root that is not used stays on disk");
                }
            }
        }
    }

    /// Whether every certificate that was signed is written down.
    pub(crate) fn is_whole(&self) -> bool {
        self.dir.join(WHOLE).exists()
    }

    /// Says for after a restart whether it is.
    ///
    /// # Errors
    /// When the disk does not take that.
    pub(crate) fn set_whole(&self, whole: bool) -> io::Result<()> {
        let path = self.dir.join(WHOLE);
        match whole {
            true => weir_files::replace(&path, b""),
            false => weir_files::remove(&path),
        }
    }

    /// The root that signs.
    pub(crate) fn issuer(&self) -> Arc<Ca> {
        Arc::clone(&self.roots[&self.state.issuer])
    }

    /// The other root, while there are two.
    pub(crate) fn other(&self) -> Option<Arc<Ca>> {
        match &self.state.phase {
            Phase::Steady => None,
            Phase::Spreading { coming: other, .. } | Phase::Retiring { going: other, .. } => {
                self.roots.get(other).map(Arc::clone)
            }
        }
    }
}

/// Key first: a certificate without its key would be of no use.
fn save(dir: &Path, root: &Ca) -> Result<String, OpenError> {
    let id = hex(&fingerprint(root.der()))[..ID].to_owned();
    let key = key_path(dir, &id);
    weir_files::replace(&key, root.key_pem().as_bytes())
        .map_err(|error| OpenError::file(&key, error))?;
    let path = certificate_path(dir, &id);
    let pem = crate::pem::certificates(&root.chain);
    weir_files::replace(&path, pem.as_bytes()).map_err(|error| OpenError::file(&path, error))?;
    Ok(id)
}

fn read(dir: &Path, id: &str) -> Result<Ca, OpenError> {
    let (path, key_path) = (certificate_path(dir, id), key_path(dir, id));
    files::check_private(&key_path, "600").map_err(|error| OpenError::file(&key_path, error))?;
    let certificate = files::read(&path).map_err(|error| OpenError::file(&path, error))?;
    let key = files::read(&key_path).map_err(|error| OpenError::file(&key_path, error))?;
    let certificate = CertificateDer::from_pem_slice(&certificate)
        .map_err(|_| OpenError::NoCertificate(path.clone()))?;
    let key = std::str::from_utf8(&key).ok();
    let key = key.and_then(|pem| KeyPair::from_pem(pem).ok());
    let key = key.ok_or_else(|| OpenError::NoKey(key_path.clone()))?;
    if !crate::verify::fits(&certificate, &key) {
        return Err(OpenError::Pair {
            cert: path,
            key: key_path,
        });
    }
    Ok(Ca::of(vec![certificate], key)?)
}

/// The roots whose certificate and key are there.
fn stored(dir: &Path) -> io::Result<Vec<String>> {
    let ids: BTreeSet<String> = written(dir)?.into_iter().map(|(id, _)| id).collect();
    let whole = |id: &String| key_path(dir, id).exists() && certificate_path(dir, id).exists();
    Ok(ids.into_iter().filter(whole).collect())
}

/// All files of roots, with their ids: also of one that was never written whole, and what a write left beside its place.
fn written(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let root = name.strip_prefix("root-");
        if let Some((id, "crt" | "key" | "crt.new" | "key.new")) =
            root.and_then(|name| name.split_once('.'))
        {
            found.push((id.to_owned(), entry.path()));
        }
    }
    Ok(found)
}

fn certificate_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("root-{id}.crt"))
}

fn key_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("root-{id}.key"))
}

#[cfg(test)]
mod tests;
