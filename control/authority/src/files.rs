//! Files that hold secrets: replaced as a whole, and for their owner alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A certificate, key or state file larger than this is none.
const MAX_BYTES: u64 = 1 << 20;
/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// Makes a directory for this user alone where it is missing.
///
/// # Errors
/// When it cannot be made, or is there and open to others.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    check_private(path, "700")
}

/// That nobody but the owner gets at it.
///
/// # Errors
/// When others do; the text says what to run.
pub(crate) fn check_private(path: &Path, mode: &str) -> io::Result<()> {
    let got = std::fs::metadata(path)?.permissions().mode();
    if got & OTHERS == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "others can get at it (mode {:o}); run chmod {mode} on it",
            got & 0o777
        ),
    ))
}

/// All of a file.
///
/// # Errors
/// When it cannot be read or is too large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is larger than 1 MiB",
        ));
    }
    Ok(bytes)
}

/// Writes `bytes` to `path`, for its owner alone: either all of it is there afterwards, also after a crash, or the file is what
/// it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = aside(path);
    // Left over from a crash.
    let _ = std::fs::remove_file(&aside);
    let result = fill(&aside, bytes).and_then(|()| std::fs::rename(&aside, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&aside);
        return result;
    }
    sync_dir(path)
}

/// Takes a file away; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_dir(path),
    }
}

/// A name is durable only once its directory is.
fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
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

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
