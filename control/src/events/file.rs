//! Events as JSON lines on disk, bounded, written off the callers' threads.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::api::types::Event;

/// Bytes at which the file is moved aside to `events.jsonl.1`; two of them exist at most.
const ROTATE_AT: u64 = 1024 * 1024;
/// Lines waiting for a slow disk; more are left out of the file (the ring in memory has them).
const QUEUE: usize = 1024;

/// The file of events. Dropping it ends its thread after what was queued is written.
pub struct EventFile {
    lines: SyncSender<String>,
}

impl EventFile {
    /// Starts the thread that appends to `path`.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        let (lines, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("weir-events".into())
            .spawn(move || write_all(file, &path, &queue))?;
        Ok(Self { lines })
    }

    pub(crate) fn append(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_string(event) else {
            return;
        };
        line.push('\n');
        // A full queue means a disk that hangs: what serves traffic does not wait for it.
        let _ = self.lines.try_send(line);
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn write_all(mut file: File, path: &Path, queue: &Receiver<String>) {
    let mut size = file.metadata().map_or(0, |meta| meta.len());
    let mut failing = false;
    for line in queue {
        let result = write_one(&mut file, path, &mut size, &line);
        if let Err(error) = &result
            && !failing
        {
            tracing::warn!(path = %path.display(), %error, "events are not written to the file; check its disk");
        }
        failing = result.is_err();
    }
}

fn write_one(file: &mut File, path: &Path, size: &mut u64, line: &str) -> io::Result<()> {
    if *size + line.len() as u64 > ROTATE_AT {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        std::fs::rename(path, aside)?;
        *file = append_to(path)?;
        *size = 0;
    }
    file.write_all(line.as_bytes())?;
    *size += line.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut file = append_to(&path).unwrap();
        let (mut size, line) = (0, format!("{}\n", "x".repeat(999)));
        for _ in 0..2500 {
            write_one(&mut file, &path, &mut size, &line).unwrap();
        }
        write_one(&mut file, &path, &mut size, "last\n").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(std::fs::metadata(&path).unwrap().len() <= ROTATE_AT);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("last\n"));
    }
}
