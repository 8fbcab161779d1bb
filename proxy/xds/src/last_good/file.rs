//! Replacing a file as a whole, and keeping the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// All of a file, `None` where there is none.
///
/// # Errors
/// When it cannot be read, or holds more than `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    if size > most {
        return Err(io::Error::other(format!(
            "it holds {size} bytes, more than the {most} that are read"
        )));
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes `bytes` to `path`, for its owner alone, and leaves what was there at `previous`. At every moment there is a whole
/// file at `path`, if there was one before.
pub(super) fn replace(path: &Path, previous: Option<&Path>, bytes: &[u8]) -> io::Result<()> {
    let fresh = with(path, ".new");
    // Left over from a crash.
    let _ = std::fs::remove_file(&fresh);
    let result = fill(&fresh, bytes)
        .and_then(|()| previous.map_or(Ok(()), |previous| keep(path, previous)))
        .and_then(|()| std::fs::rename(&fresh, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&fresh);
        return result;
    }
    // The renames are durable only once the directory is.
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Gives what is at `path` a second name, so that the first is never without a file.
fn keep(path: &Path, previous: &Path) -> io::Result<()> {
    let aside = with(previous, ".new");
    let _ = std::fs::remove_file(&aside);
    match std::fs::hard_link(path, &aside) {
        Ok(()) => std::fs::rename(aside, previous),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
