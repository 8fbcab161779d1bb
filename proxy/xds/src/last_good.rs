//! The last good state on disk: what a proxy serves when it starts and nobody answers.
//!
//! Two files, `last-good` and the one before it, each whole or absent: written aside, synced, renamed. A file that is cut
//! short, changed, of another version or of another node is reported and not used. **The private keys of listeners are
//! in them**, so they are for their owner alone, in a directory that is, too.

mod file;
mod format;
mod writer;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_wire::Resources;

use crate::tally::{ReadResult, Tally};

pub use format::FormatError;
pub use writer::Writer;

/// The newest.
const CURRENT: &str = "last-good";
/// The one before.
const PREVIOUS: &str = "last-good.previous";
/// A file above this is not read. Four times what [`crate::Limits`] lets in.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Whose it is.
    pub node: String,
    pub generation: u64,
    /// The run of a control plane whose number that is; empty where it named none.
    pub run: String,
    /// When it came into force, in milliseconds since 1970.
    pub at_ms: u64,
    pub resources: Resources,
}

/// Where it is kept.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    node: String,
    tally: Arc<Tally>,
    /// Whether the current file is worth to become the previous one: one that could not be used is not.
    good: AtomicBool,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the state directory {0} cannot be used: {1}; look at its owner and at the space left on its disk, or name another with --state-dir"
    )]
    Directory(PathBuf, io::Error),
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("it is of the node {0}, and this one is {1}")]
    Node(String, String),
    #[error("it makes no configuration: {0}")]
    Senseless(String),
}

impl Store {
    /// The store of a node in that directory, which is made for this user alone where it is missing.
    ///
    /// # Errors
    /// When there can be no such directory.
    pub fn open(dir: &Path, node: &str) -> Result<Self, StoreError> {
        let refuse = |error| StoreError::Directory(dir.to_path_buf(), error);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(refuse)?;
        let mode = std::fs::metadata(dir).map_err(refuse)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(
                dir = %dir.display(),
                mode = format!("{:o}", mode & 0o777),
                "others can look into the state directory, which will hold private keys in files of mode 0600; chmod 0700 it"
            );
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            node: node.to_owned(),
            tally: Arc::default(),
            good: AtomicBool::new(true),
        })
    }

    /// Counts there from now on.
    #[must_use]
    pub(crate) fn counting(mut self, tally: &Arc<Tally>) -> Self {
        self.tally = Arc::clone(tally);
        self
    }

    /// The newest file that can be used, and what `accept` makes of it. Each that cannot is reported.
    pub fn load<T>(
        &self,
        mut accept: impl FnMut(&Saved) -> Result<T, String>,
    ) -> Option<(Saved, T)> {
        for (name, result) in [
            (CURRENT, ReadResult::Current),
            (PREVIOUS, ReadResult::Previous),
        ] {
            let path = self.dir.join(name);
            match self.read(&path, &mut accept) {
                Ok(Some(found)) => {
                    self.tally.read(result);
                    return Some(found);
                }
                Ok(None) => {}
                Err(error) => {
                    if result == ReadResult::Current {
                        self.good.store(false, Ordering::Relaxed);
                    }
                    self.tally.read(ReadResult::Refused);
                    tracing::error!(file = %path.display(), "the last good state is not used: {error}");
                }
            }
        }
        self.tally.read(ReadResult::None);
        None
    }

    /// What is in that file, `None` where there is none.
    fn read<T>(
        &self,
        path: &Path,
        accept: &mut impl FnMut(&Saved) -> Result<T, String>,
    ) -> Result<Option<(Saved, T)>, LoadError> {
        let Some(bytes) = file::read(path, MAX_FILE_BYTES)? else {
            return Ok(None);
        };
        let saved = format::read(&bytes)?;
        if saved.node != self.node {
            return Err(LoadError::Node(saved.node, self.node.clone()));
        }
        let made = accept(&saved).map_err(LoadError::Senseless)?;
        Ok(Some((saved, made)))
    }

    /// Puts that in the place of the current file, which becomes the previous one.
    ///
    /// # Errors
    /// A full or dead disk; what was there before is there still.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let (current, bytes) = (self.dir.join(CURRENT), format::write(saved));
        let written = match self.good.load(Ordering::Relaxed) {
            true => weir_files::replace_and_keep(&current, &self.dir.join(PREVIOUS), &bytes),
            // A bad one must not take the place of one that may be good.
            false => weir_files::replace(&current, &bytes),
        };
        if written.is_ok() {
            self.good.store(true, Ordering::Relaxed);
        }
        self.tally.wrote(written.is_ok());
        written
    }
}

#[cfg(test)]
mod tests;
