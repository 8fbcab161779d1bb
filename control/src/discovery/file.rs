//! Configuration files, read again when they change.
//!
//! The files that a configuration refers to (certificates, keys, authorities) are watched with it, in the same way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use weir_config::file::{Loaded, load};
use weir_config::model::Source;
use weir_config::references::disk;
use weir_config::settings::Settings;
use weir_config::{Diagnostic, Place, References};

use super::eyes::{Eyes, Fingerprint, POLL, settle};
use crate::api::types::ProviderState;
use crate::control::Shared;
use crate::events::Draft;
use crate::watcher::Command;

/// Readings in a row that find out what else is referred to.
const ROUNDS: usize = 3;

/// Files and what was seen of them last.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    /// What the configuration refers to.
    referred: Vec<PathBuf>,
    seen: Fingerprint,
}

impl Files {
    /// Reads the files for the first time, off the runtime's threads.
    ///
    /// What they look like is noted before they are read: a change right after the reading is a change.
    pub(crate) async fn open(paths: Vec<PathBuf>) -> (Self, Loaded) {
        let mut files = Self {
            paths,
            referred: Vec::new(),
            seen: Fingerprint::default(),
        };
        files.seen = files.look().await;
        let loaded = files.read().await;
        (files, loaded)
    }

    async fn look(&self) -> Fingerprint {
        let (paths, referred) = (self.paths.clone(), self.referred.clone());
        tokio::task::spawn_blocking(move || Fingerprint::take(&paths, &referred, &["yaml", "yml"]))
            .await
            .unwrap_or_default()
    }

    /// Reads everything. What is referred to is known only then: where it is something new, all is looked at and read
    /// again, so that no change in between is missed.
    async fn read(&mut self) -> Loaded {
        let mut loaded = read(&self.paths, &self.referred).await;
        for _ in 1..ROUNDS {
            let referred: Vec<PathBuf> = loaded
                .fragment
                .references
                .paths()
                .map(Path::to_owned)
                .collect();
            if referred == self.referred {
                break;
            }
            self.referred = referred;
            self.seen = self.look().await;
            loaded = read(&self.paths, &self.referred).await;
        }
        loaded
    }

    /// Everything that is watched.
    fn watched(&self) -> Vec<PathBuf> {
        self.paths.iter().chain(&self.referred).cloned().collect()
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
        eyes.look_at(&self.watched());
        loop {
            // Looked at before anything is waited for: a change may have come before the watch.
            let now = self.look().await;
            if now != self.seen {
                self.seen = now;
                eyes.look_at(&self.watched());
                let loaded = self.read().await;
                eyes.look_at(&self.watched());
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

async fn read(paths: &[PathBuf], before: &[PathBuf]) -> Loaded {
    let (paths, before) = (paths.to_vec(), before.to_vec());
    let reading = tokio::task::spawn_blocking(move || {
        let mut loaded = load(&paths);
        if loaded.has_errors() {
            // What could not be read may be where these are named, and the state in force goes on using them.
            let references = &mut loaded.fragment.references;
            let unnamed = before.iter().filter(|path| references.get(path).is_none());
            let unnamed = References::of(unnamed, &disk);
            references.merge(unnamed);
        }
        loaded
    });
    let reading = reading.await;
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
