//! Files that are replaced as a whole, for their owner alone: what Weir keeps of secrets and of its state.
//!
//! A crash at any moment, of this process or of the machine, leaves the file as it was or as it was to be, never a part.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Ends the name of what is not in its place yet.
const ASIDE: &str = ".new";

/// Writes `bytes` to `path`, with mode 0600. One process at a time may do so.
///
/// # Errors
/// When it cannot be written or made durable. Only if the latter failed may it be in place all the same.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, || Ok(()))
}

/// As [`replace`], and leaves what was there at `previous`. At every moment there is a file at `path`, if there was one before.
///
/// # Errors
/// As [`replace`]; also when the one before cannot be kept: then nothing is replaced.
pub fn replace_and_keep(path: &Path, previous: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, || keep(path, previous))
}

/// Takes a file away, durably; one that is not there is fine.
///
/// # Errors
/// When it is still there, or may be again after a crash.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_directory(path),
    }
}

fn write(path: &Path, bytes: &[u8], first: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let aside = aside(path);
    // Left over from a crash.
    let _ = std::fs::remove_file(&aside);
    let result = fill(&aside, bytes)
        .and_then(|()| first())
        .and_then(|()| std::fs::rename(&aside, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&aside);
        return result;
    }
    sync_directory(path)
}

/// Gives what is at `path` a second name, so that the first is never without a file.
fn keep(path: &Path, previous: &Path) -> io::Result<()> {
    let aside = aside(previous);
    let _ = std::fs::remove_file(&aside);
    match std::fs::hard_link(path, &aside) {
        Ok(()) => std::fs::rename(&aside, previous).inspect_err(|_| {
            let _ = std::fs::remove_file(&aside);
        }),
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

/// A name is durable only once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_for_its_owner_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        // Of a crash, and larger than what follows.
        std::fs::write(dir.path().join("key.new"), "a part of something").unwrap();
        for text in ["first", "2"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["key"]);
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, previous) = (dir.path().join("state"), dir.path().join("previous"));
        replace(&path, b"good").unwrap();
        // A directory stands where the one before is to be kept.
        std::fs::create_dir(&previous).unwrap();
        replace_and_keep(&path, &previous, b"better").unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"good");
        replace(&dir.path().join("nowhere/state"), b"x").unwrap_err();
        assert_eq!(names(dir.path()), ["previous", "state"]);
    }

    #[test]
    fn the_one_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (path, previous) = (dir.path().join("state"), dir.path().join("previous"));
        for (text, before) in [("1", None), ("2", Some("1")), ("3", Some("2"))] {
            replace_and_keep(&path, &previous, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::read_to_string(&previous).ok().as_deref(), before);
        }
        assert_eq!(names(dir.path()), ["previous", "state"]);
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        replace(&path, b"x").unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(names(dir.path()).is_empty());
        remove(&dir.path().join("nowhere/key")).unwrap_err();
    }
}
