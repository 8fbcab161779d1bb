//! Noticing that files change.
//!
//! The *directories* of the files are watched, not the files: editors replace a file by renaming a new one over it, and
//! Kubernetes and Docker configs swap a symbolic link in the directory or one above; a watch on the file would stay with
//! the old one. A slow poll of what is really there covers file systems that send no events (NFS, some bind mounts).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Quiet after the last event before files are read: an editor writes in several steps.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// From the first event on, however unquiet.
const DEBOUNCE_MAX: Duration = Duration::from_millis(500);
/// How often files are looked at without an event.
pub(super) const POLL: Duration = Duration::from_secs(2);
/// Waits until no event came for a while, or the longest wait is over. What comes meanwhile wakes nobody: in the same
/// directory others may write a file thousands of times a second.
pub(super) async fn settle(nudges: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + DEBOUNCE_MAX;
    while Instant::now() < end {
        tokio::time::sleep(DEBOUNCE.min(end - Instant::now())).await;
        if nudges.try_recv().is_err() {
            return;
        }
    }
}

/// What is really there: for each file, through links, its identity, size and time of change.
#[derive(PartialEq, Eq, Default)]
pub(super) struct Fingerprint(BTreeMap<PathBuf, Option<Identity>>);

/// Device, inode, bytes and time of change.
pub(super) type Identity = (u64, u64, u64, Option<SystemTime>);

impl Fingerprint {
    /// Of files and directories, whose files with these extensions count.
    pub(super) fn take(paths: &[PathBuf], referred: &[PathBuf], extensions: &[&str]) -> Self {
        // Of a directory of certificates the time of change says that a name came or went.
        let identities = referred.iter().map(|path| (path.clone(), identify(path)));
        let mut map: BTreeMap<_, _> = identities.collect();
        for path in paths {
            let Ok(entries) = std::fs::read_dir(path) else {
                map.insert(path.clone(), identify(path));
                continue;
            };
            map.insert(path.clone(), None);
            for entry in entries.flatten() {
                let file = entry.path();
                if file
                    .extension()
                    .is_some_and(|e| extensions.iter().any(|known| e == *known))
                {
                    map.insert(file.clone(), identify(&file));
                }
            }
        }
        Self(map)
    }

    /// One of those files; `None` where it could not be looked at.
    pub(super) fn of(&self, path: &Path) -> Option<Identity> {
        *self.0.get(path)?
    }
}

fn identify(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.modified().ok()))
}

/// Directory watches. Without them (no inotify left) the poll alone finds changes.
pub(super) struct Eyes {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Eyes {
    pub(super) fn open(nudge: mpsc::Sender<()>) -> Self {
        let on_event = move |event: notify::Result<notify::Event>| {
            let changes = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if changes {
                // A nudge that waits already covers this one.
                let _ = nudge.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "no file events; files are looked at every 2 s instead (check fs.inotify limits)");
        }
        Self {
            watcher: watcher.ok(),
            watched: BTreeSet::new(),
        }
    }

    /// Watches the directories that hold these files, also behind links; anew after each change, since a link may
    /// point elsewhere then.
    pub(super) fn look_at(&mut self, paths: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = paths.iter().flat_map(|path| directories(path)).collect();
        for old in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(old);
        }
        // Watched again even if it was before: a directory that was replaced has the same name.
        self.watched = wanted
            .into_iter()
            .filter(|dir| watcher.watch(dir, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => PathBuf::from("."),
        Some(dir) => dir.to_owned(),
        None => PathBuf::from("/"),
    };
    let mut out = vec![parent(path)];
    if path.is_dir() {
        out.push(path.to_owned());
    }
    if let Ok(real) = path.canonicalize() {
        out.push(if real.is_dir() { real } else { parent(&real) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_without_end_wake_nobody_for_each_of_them_and_are_waited_for_no_longer_than_that()
     {
        let (nudge, mut nudges) = mpsc::channel(1);
        let writer = tokio::spawn(async move {
            loop {
                let _ = nudge.try_send(());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let mut settling = std::pin::pin!(settle(&mut nudges));
        let (mut woken, start) = (0, Instant::now());
        std::future::poll_fn(|cx| {
            woken += 1;
            settling.as_mut().poll(cx)
        })
        .await;
        writer.abort();
        assert!(start.elapsed() >= DEBOUNCE_MAX);
        assert!(woken <= 12, "woken {woken} times");
    }

    #[tokio::test]
    async fn quiet_after_the_last_event_ends_the_wait() {
        let (nudge, mut nudges) = mpsc::channel(1);
        nudge.try_send(()).unwrap();
        let start = Instant::now();
        settle(&mut nudges).await;
        assert!(start.elapsed() >= 2 * DEBOUNCE);
        assert!(nudges.try_recv().is_err());
    }
}
