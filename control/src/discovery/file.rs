//! Configuration files, read again when they change.
//!
//! The *directories* of the files are watched, not the files: editors replace a file by renaming a new one over it, and
//! Kubernetes and Docker configs swap a symbolic link in the directory or one above; a watch on the file would stay with
//! the old one. A slow poll of what is really there covers file systems that send no events (NFS, some bind mounts).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_config::file::{Loaded, load};
use weir_config::model::Source;
use weir_config::settings::Settings;
use weir_config::{Diagnostic, Place};

use crate::api::types::ProviderState;
use crate::control::Shared;
use crate::events::Draft;
use crate::watcher::Command;

/// Quiet after the last event before files are read: an editor writes in several steps.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// From the first event on, however unquiet.
const DEBOUNCE_MAX: Duration = Duration::from_millis(500);
/// How often files are looked at without an event.
const POLL: Duration = Duration::from_secs(2);

/// Files and what was seen of them last.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    seen: Fingerprint,
}

impl Files {
    /// Reads the files for the first time, off the runtime's threads.
    ///
    /// What they look like is noted before they are read: a change right after the reading is a change.
    pub(crate) async fn open(paths: Vec<PathBuf>) -> (Self, Loaded) {
        let seen = look(&paths).await;
        let loaded = read(&paths).await;
        (Self { paths, seen }, loaded)
    }

    /// Watches the files and tells the watcher each new state, until the control plane stops.
    pub(crate) fn watch(
        self,
        shared: Arc<Shared>,
        settings: Option<Settings>,
        commands: mpsc::Sender<Command>,
    ) {
        tokio::spawn(async move {
            let stop = shared.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.run(&shared, settings, &commands) => {}
            }
        });
    }

    async fn run(
        mut self,
        shared: &Arc<Shared>,
        settings: Option<Settings>,
        commands: &mpsc::Sender<Command>,
    ) {
        let (nudge, mut nudges) = mpsc::channel(1);
        let mut eyes = Eyes::open(nudge);
        shared.board.provider(
            "file",
            state_now(shared),
            error_now(shared),
            &describe(&self.paths),
        );
        eyes.look_at(&self.paths);
        loop {
            // Looked at before anything is waited for: a change may have come before the watch.
            let now = look(&self.paths).await;
            if now != self.seen {
                self.seen = now;
                eyes.look_at(&self.paths);
                let loaded = read(&self.paths).await;
                warn_of_settings(shared, settings.as_ref(), &loaded);
                if commands
                    .send(Command::Files(Box::new(loaded)))
                    .await
                    .is_err()
                {
                    return;
                }
                continue;
            }
            tokio::select! {
                Some(()) = nudges.recv() => settle(&mut nudges).await,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

async fn read(paths: &[PathBuf]) -> Loaded {
    let paths = paths.to_vec();
    let reading = tokio::task::spawn_blocking(move || load(&paths)).await;
    // Nothing read must never look like an empty configuration.
    reading.unwrap_or_else(|failure| {
        let place = Place::of(Source::Other("configuration files".into()));
        let message = format!("reading them failed inside Weir, please report this: {failure}");
        Loaded {
            diagnostics: vec![Diagnostic::error(&place, message)],
            ..Loaded::default()
        }
    })
}

async fn look(paths: &[PathBuf]) -> Fingerprint {
    let paths = paths.to_vec();
    tokio::task::spawn_blocking(move || Fingerprint::take(&paths))
        .await
        .unwrap_or_default()
}

/// Waits until no event came for a while, or the longest wait is over.
async fn settle(nudges: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + DEBOUNCE_MAX;
    while Instant::now() < end {
        let wait = DEBOUNCE.min(end - Instant::now());
        if tokio::time::timeout(wait, nudges.recv()).await.is_err() {
            return;
        }
    }
}

/// Keeps what the first reading said: it was told before anybody watched.
fn state_now(shared: &Shared) -> ProviderState {
    shared
        .board
        .lock()
        .providers
        .get("file")
        .map_or(ProviderState::Up, |provider| provider.state)
}

fn error_now(shared: &Shared) -> Option<String> {
    shared
        .board
        .lock()
        .providers
        .get("file")
        .and_then(|provider| provider.error.clone())
}

fn warn_of_settings(shared: &Shared, running: Option<&Settings>, loaded: &Loaded) {
    if running.is_some_and(|running| !loaded.has_errors() && *running != loaded.settings) {
        let text = "admin, discovery or process settings changed in the file; they take effect at the next start";
        shared.events.record(Draft::config(text.into()));
    }
}

fn describe(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

/// What is really there: for each file, through links, its identity, size and time of change.
#[derive(PartialEq, Eq, Default)]
struct Fingerprint(BTreeMap<PathBuf, Option<Identity>>);

/// Device, inode, bytes and time of change.
type Identity = (u64, u64, u64, Option<SystemTime>);

impl Fingerprint {
    fn take(paths: &[PathBuf]) -> Self {
        let mut map = BTreeMap::new();
        for path in paths {
            let Ok(entries) = std::fs::read_dir(path) else {
                map.insert(path.clone(), identify(path));
                continue;
            };
            map.insert(path.clone(), None);
            for entry in entries.flatten() {
                let file = entry.path();
                if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                    map.insert(file.clone(), identify(&file));
                }
            }
        }
        Self(map)
    }
}

fn identify(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.modified().ok()))
}

/// Directory watches. Without them (no inotify left) the poll alone finds changes.
struct Eyes {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Eyes {
    fn open(nudge: mpsc::Sender<()>) -> Self {
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
    fn look_at(&mut self, paths: &[PathBuf]) {
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
