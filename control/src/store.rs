//! What outlives a restart: weights set by hand, the admin token, the file of events.
//!
//! All of it stands in one directory that only its owner may enter. Every file is replaced as a whole: written aside,
//! synced, renamed, and the directory synced, so that a crash leaves the old or the new one and never half of either.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use weir_plan::Overrides;

use crate::events::EventFile;

mod atomic;
mod overrides;
mod token;

pub use token::Token;

/// Name of the generated token's file.
pub const TOKEN_FILE: &str = "admin.token";

const OVERRIDES_FILE: &str = "overrides.json";
const EVENTS_FILE: &str = "events.jsonl";
/// A state file larger than this was not written by Weir.
const MAX_STATE_BYTES: u64 = 4 * 1024 * 1024;

/// Why the state directory or the token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "cannot use the state directory {}: {error}; check that it exists and that this user may write to it, \
         or name another with stateDir or WEIR_STATE_DIR", path.display()
    )]
    Directory { path: PathBuf, error: io::Error },
    #[error("cannot read the admin token from {}: {error}; check admin.tokenFile and its permissions", path.display())]
    ReadToken { path: PathBuf, error: io::Error },
    #[error("the admin token in {} {reason}", path.display())]
    BadToken { path: PathBuf, reason: &'static str },
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// The state directory, if there is one.
#[derive(Debug, Clone)]
pub struct Store {
    dir: Option<PathBuf>,
}

impl Store {
    /// Opens a directory and makes it, for this user alone, where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Directory`].
    pub fn open(dir: Option<PathBuf>) -> Result<Self, StoreError> {
        if let Some(path) = &dir {
            let fail = |error| StoreError::Directory {
                path: path.clone(),
                error,
            };
            let existed = path.is_dir();
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(fail)?;
            if !existed {
                std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fail)?;
            }
        }
        Ok(Self { dir })
    }

    /// The overrides as they were saved, and a complaint when the file could not be used: then it is moved
    /// aside, and what it said is not in force.
    #[must_use]
    pub fn load_overrides(&self) -> (Overrides, Option<String>) {
        let Some(path) = self.path(OVERRIDES_FILE) else {
            return (Overrides::default(), None);
        };
        let reason = match read_bounded(&path) {
            Ok(None) => return (Overrides::default(), None),
            Ok(Some(text)) => match overrides::parse(&text) {
                Ok(overrides) => return (overrides, None),
                Err(reason) => reason,
            },
            Err(error) => error.to_string(),
        };
        let aside = path.with_extension("json.corrupt");
        let moved = match std::fs::rename(&path, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("it could not be moved aside: {error}"),
        };
        let complaint = format!(
            "weights set by hand could not be read from {} ({reason}); {moved}; starting without them, set them again \
             with weir canary set",
            path.display()
        );
        tracing::error!("{complaint}");
        (Overrides::default(), Some(complaint))
    }

    /// Saves the overrides. Without a directory there is nowhere to, which is no error.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the old file is still whole then.
    pub fn save_overrides(&self, overrides: &Overrides) -> Result<(), StoreError> {
        let Some(path) = self.path(OVERRIDES_FILE) else {
            return Ok(());
        };
        atomic::write(&path, overrides::to_text(overrides).as_bytes())
            .map_err(|error| StoreError::Write { path, error })
    }

    /// The token that changes need: from `file` if one is named, else from the state directory, where it is made
    /// if it is missing. `None` without either: then nothing can be changed.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read or written, or holds no token.
    pub fn token(&self, file: Option<&Path>) -> Result<Option<Token>, StoreError> {
        if let Some(path) = file {
            return token::read(path).map(Some);
        }
        self.path(TOKEN_FILE)
            .map(|path| token::read_or_create(&path))
            .transpose()
    }

    /// Whether changes outlive a restart.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.dir.is_some()
    }

    pub(crate) fn event_file(&self) -> Option<EventFile> {
        let path = self.path(EVENTS_FILE)?;
        match EventFile::open(path.clone()) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "events are kept in memory only");
                None
            }
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(name))
    }
}

/// A small text file; `None` when it does not exist.
fn read_bounded(path: &Path) -> io::Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_STATE_BYTES => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is larger than 4 MiB",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    std::fs::read_to_string(path).map(Some)
}

#[cfg(test)]
mod tests;
