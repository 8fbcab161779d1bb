//! What outlives a restart, in one directory: the database, the token, and what made certificates for development.
//!
//! The database ([`database`], embedded: [`redb`]) holds what people decided through the API and the history of it, as
//! [`records`]. The token and the certificates are files of their own, because people and other programs read them; each is
//! replaced as a whole: written aside, synced, renamed, and the directory synced, so that a crash leaves the old or the
//! new one and never half of either. Events are lines appended to a file for the same reason, and because losing one is
//! better than waiting for a disk with each.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_plan::Overrides;

use crate::events::EventFile;

pub mod database;
mod overrides;
pub mod records;
pub mod redb;
mod token;

pub(crate) use overrides::{parse as parse_overrides, to_text as overrides_text};
pub use token::Token;

use database::{Batch, Database, InMemory};
use redb::{Opening, Redb};

/// Name of the generated token's file.
pub const TOKEN_FILE: &str = "admin.token";

const OVERRIDES_FILE: &str = "overrides.json";
const EVENTS_FILE: &str = "events.jsonl";
const DEVELOPMENT_FILE: &str = "self-signed.pem";
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

    /// The database of the directory; without a directory, or where its file cannot be used, one that lasts as long as the
    /// process. Also tells what a person has to know: this never keeps a control plane from starting.
    pub async fn database(&self) -> (Arc<dyn Database>, Vec<String>) {
        let in_memory = || -> Arc<dyn Database> { Arc::new(InMemory::default()) };
        let Some(dir) = self.dir.clone() else {
            return (in_memory(), Vec::new());
        };
        let opening = tokio::task::spawn_blocking(move || Redb::open_in(&dir)).await;
        let unusable = |reason: String| {
            let complaint = format!(
                "{reason}; going on without what it holds: applied documents and weights set by hand are not in force, \
                 and changes by hand last until Weir restarts"
            );
            (in_memory(), vec![complaint])
        };
        match opening {
            Ok(Opening::Ready(database, complaint)) => {
                (Arc::new(database), complaint.into_iter().collect())
            }
            Ok(Opening::Unusable(reason)) => unusable(reason),
            Err(panicked) => unusable(format!(
                "opening the database failed inside Weir: {panicked}"
            )),
        }
    }

    /// Takes over the weights that an earlier version kept in a file of their own; the file is renamed then, so that
    /// going back to that version takes renaming it back. A complaint comes with a file that could not be read: it is
    /// moved aside, and what it said is not in force.
    pub async fn take_over_overrides(
        &self,
        database: &dyn Database,
    ) -> (Option<Overrides>, Option<String>) {
        let Some(path) = self.path(OVERRIDES_FILE).filter(|_| database.is_durable()) else {
            return (None, None);
        };
        let reason = match read_bounded(&path) {
            Ok(None) => return (None, None),
            Ok(Some(text)) => match overrides::parse(&text) {
                Ok(overrides) => return taken_over(&path, overrides, database).await,
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
        (None, Some(complaint))
    }

    /// The key and the certificates made for development, as [`Store::save_development`] left them.
    #[must_use]
    pub fn load_development(&self) -> Option<String> {
        let path = self.path(DEVELOPMENT_FILE)?;
        read_bounded(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "self-signed certificates are made anew");
            None
        })
    }

    /// Keeps them, so that a browser that was told to accept one finds it again after a restart.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn save_development(&self, pem: &str) -> Result<(), StoreError> {
        let Some(path) = self.path(DEVELOPMENT_FILE) else {
            return Ok(());
        };
        weir_files::replace(&path, pem.as_bytes())
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

/// In this order, a crash in between takes the file over once more.
async fn taken_over(
    path: &Path,
    overrides: Overrides,
    database: &dyn Database,
) -> (Option<Overrides>, Option<String>) {
    let mut batch = Batch::default();
    batch.put_overrides(&overrides);
    if let Err(error) = database.commit(batch).await {
        return (Some(overrides), Some(error.to_string()));
    }
    let complaint = std::fs::rename(path, path.with_extension("json.old")).err();
    let complaint = complaint.map(|error| {
        format!(
            "{} was taken over and cannot be renamed: {error}; remove it, or it is taken over again at the next start",
            path.display()
        )
    });
    (Some(overrides), complaint)
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
