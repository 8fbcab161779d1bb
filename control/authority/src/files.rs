//! Files that hold secrets: for their owner alone, and of a size that they may have.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

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
