//! Looking at the file system.

use std::fs::Metadata;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::{Held, Unreadable};

/// Largest file read: 1 MiB, several times what all public authorities take.
const MAX_BYTES: u64 = 1 << 20;
/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Where Docker mounts secrets, readable for all of their container by default.
const MOUNTED: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// Looks at a path: through links, and into a file or the names of a directory.
#[must_use]
pub fn disk(path: &Path) -> Held {
    read(path).unwrap_or_else(|error| Held::Unreadable(why(&error)))
}

fn read(path: &Path) -> io::Result<Held> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return names(path).map(Held::Directory);
    }
    if !meta.is_file() {
        // Opening a pipe or a device could wait without end.
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Held::Unreadable(Unreadable::TooLarge));
    }
    Ok(Held::File {
        bytes: bytes.into(),
        exposed: is_exposed(path, &meta),
    })
}

/// Whether more may read it than the one it is for. A group may where root owns the file: that is how root gives it to
/// a service.
fn is_exposed(path: &Path, meta: &Metadata) -> bool {
    let mode = meta.permissions().mode();
    let mounted = MOUNTED.iter().any(|mount| path.starts_with(mount));
    let by_group = mode & 0o040 != 0 && meta.uid() != 0;
    !mounted && (mode & 0o004 != 0 || by_group)
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)?.take(MAX_ENTRIES) {
        // A name that is not text cannot be one of a pair.
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn why(error: &io::Error) -> Unreadable {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Unreadable::Missing,
        ErrorKind::PermissionDenied => Unreadable::Denied,
        _ => Unreadable::Other(error.to_string()),
    }
}
