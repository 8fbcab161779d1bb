//! A directory of files that list endpoints, written by some other program.
//!
//! A file is read again when it changes, and all of them together are one answer. A file that went bad counts as it was
//! before, with its mistakes reported, and the others go on (semantics 38). A file that vanished takes its endpoints along
//! no faster than a container that vanished does (semantics 36); one that is there and says `endpoints: []`, or that said
//! `draining: true` of an endpoint before it left it out, is believed at once (semantics 34).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use weir_config::Diagnostic;
use weir_config::endpoint_file::{self, EndpointFile};
use weir_config::settings::EndpointFileSettings;

use self::known::{Known, Taken};
use super::eyes::{Eyes, Fingerprint, Identity, POLL, settle};
use super::pace::Flow;
use super::provider::{self, Answer, Desk, End, Provider, Words};
use crate::control::Shared;
use crate::watcher::Command;

mod known;

/// What counts as an endpoint file.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Files of one directory.
const MAX_FILES: usize = 10_000;

/// What a file says.
type Said = Result<Vec<EndpointFile>, Vec<Diagnostic>>;

/// What the files of a directory say, by name.
type Listing = BTreeMap<String, Said>;

/// What files said, and which files these were.
type ReadBefore = BTreeMap<PathBuf, (Identity, Said)>;

/// Reads a directory until the control plane stops.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    settings: EndpointFileSettings,
    commands: mpsc::Sender<Command>,
) {
    provider::watch(shared, Files::new(settings), commands);
}

/// One directory and what is known from it.
struct Files {
    directory: PathBuf,
    known: Known,
    flow: Flow,
    started: Instant,
    /// Of thousands of files mostly one has changed.
    read_before: ReadBefore,
}

impl Provider for Files {
    fn name(&self) -> &str {
        known::FILES
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn words(&self) -> Words {
        Words {
            source: "the directory",
            things: "endpoints",
            counted: "endpoints",
        }
    }

    fn count(&self) -> usize {
        self.known.count()
    }

    async fn session(&mut self, desk: &mut Desk) -> End {
        match self.read_on(desk).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }
}

impl Files {
    fn new(settings: EndpointFileSettings) -> Self {
        Self {
            directory: settings.directory,
            known: Known::new(settings.hold),
            flow: Flow::default(),
            started: Instant::now(),
            read_before: ReadBefore::new(),
        }
    }

    async fn read_on(&mut self, desk: &mut Desk) -> Result<Infallible, End> {
        let (nudge, mut nudges) = mpsc::channel(1);
        let mut eyes = Eyes::open(nudge);
        let mut seen = None;
        let mut until = None;
        loop {
            // Watched and looked at before anything is waited for: a change may have come before the watch.
            eyes.look_at(std::slice::from_ref(&self.directory));
            let (now, listing) = self.look(seen.take()).await?;
            let over = until.is_some_and(|until| until <= self.started.elapsed());
            if let Some(listing) = listing {
                self.flow.spend(Instant::now());
                until = self.take(Some(listing), desk).await?;
            } else if over {
                until = self.take(None, desk).await?;
            }
            seen = Some(now);
            let rest = until.map(|until: Duration| until.saturating_sub(self.started.elapsed()));
            let wait = rest.map_or(POLL, |rest| rest.clamp(Duration::from_millis(10), POLL));
            tokio::select! {
                Some(()) = nudges.recv() => {
                    desk.heard();
                    settle(&mut nudges).await;
                    if let Some(next) = self.flow.next() {
                        sleep_until(next).await;
                    }
                }
                () = sleep(wait) => {}
            }
        }
    }

    /// How the directory looks now, and what its files say if that is new.
    async fn look(
        &mut self,
        before: Option<Fingerprint>,
    ) -> Result<(Fingerprint, Option<Listing>), End> {
        let directory = self.directory.clone();
        let mut read_before = std::mem::take(&mut self.read_before);
        let looking = tokio::task::spawn_blocking(move || {
            let paths = files_in(&directory)?;
            let now = Fingerprint::take(std::slice::from_ref(&directory), &[], &EXTENSIONS);
            let listing = (before.as_ref() != Some(&now)).then(|| {
                let listing;
                (listing, read_before) = read(&paths, &now, std::mem::take(&mut read_before));
                listing
            });
            Ok::<_, io::Error>((now, listing, read_before))
        });
        let looked = looking.await.map_err(io::Error::other);
        match looked.and_then(|looked| looked) {
            Ok((now, listing, read)) => {
                self.read_before = read;
                Ok((now, listing))
            }
            Err(error) => {
                let shown = self.directory.display();
                Err(End::Failed(format!(
                    "{shown} cannot be read: {error}; check that it is there and that the user Weir runs as may list it"
                )))
            }
        }
    }

    /// Takes what the files say, or the same once more where time alone has changed something. Returns when the next
    /// held endpoint is let go.
    async fn take(
        &mut self,
        listing: Option<Listing>,
        desk: &mut Desk,
    ) -> Result<Option<Duration>, End> {
        let taken = self.known.take(self.started.elapsed(), listing);
        let files = self.known.files();
        let answer = Answer {
            detail: Some(format!("{files} file{}", if files == 1 { "" } else { "s" })),
            holding: holding(&taken),
            released: taken.released,
            ..Answer::default()
        };
        desk.answered(answer, self.known.count());
        desk.tell(self.known.found()).await?;
        Ok(taken.until)
    }
}

fn holding(taken: &Taken) -> Option<String> {
    let held = taken.held;
    if taken.empty {
        return Some(format!(
            "the directory holds no file at all; keeping the {held} known endpoints until it holds one"
        ));
    }
    (held > 0).then(|| {
        format!(
            "{held} endpoints, more than half of their service, vanished from the files; keeping them for now"
        )
    })
}

/// The endpoint files, in order of names, hidden ones left out.
fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let counts = path
            .extension()
            .is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known));
        if counts && !hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other(format!(
                "it holds more than {MAX_FILES} files"
            )));
        }
    }
    files.sort();
    Ok(files)
}

/// What the files say: those that are as they were, what they said. They are told by what they were before they are read: one that
/// changes meanwhile is another the next time.
fn read(paths: &[PathBuf], now: &Fingerprint, mut before: ReadBefore) -> (Listing, ReadBefore) {
    let (mut listing, mut read) = (Listing::new(), ReadBefore::new());
    for path in paths {
        let identity = now.of(path);
        let known = before.remove(path).filter(|(of, _)| Some(*of) == identity);
        let said = known.map_or_else(|| endpoint_file::load(path), |(_, said)| said);
        let name = path.file_name().unwrap_or_default();
        listing.insert(name.to_string_lossy().into_owned(), said.clone());
        read.extend(identity.map(|identity| (path.clone(), (identity, said))));
    }
    (listing, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, dir.path().join(name)).unwrap();
        };
        let look = |before| {
            let paths = files_in(dir.path()).unwrap();
            let now = Fingerprint::take(&[dir.path().to_owned()], &[], &EXTENSIONS);
            read(&paths, &now, before)
        };
        write(
            "a.yaml",
            "service: a\nendpoints: [{ address: 127.0.0.1:1 }]",
        );
        write("b.yaml", "service: ");
        let (first, mut before) = look(ReadBefore::new());
        assert!(first["a.yaml"].is_ok() && first["b.yaml"].is_err());
        // What is remembered of one that did not change is what is said of it.
        for (_, said) in before.values_mut() {
            *said = Ok(Vec::new());
        }
        write(
            "b.yaml",
            "service: b\nendpoints: [{ address: 127.0.0.1:2 }]",
        );
        write(
            "c.yaml",
            "service: c\nendpoints: [{ address: 127.0.0.1:3 }]",
        );
        let (second, before) = look(before);
        assert_eq!(second["a.yaml"], Ok(Vec::new()));
        let services = |name: &str| second[name].as_ref().unwrap()[0].service.to_string();
        assert_eq!([services("b.yaml"), services("c.yaml")], ["b", "c"]);
        std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
        let (third, before) = look(before);
        assert_eq!(third.keys().collect::<Vec<_>>(), ["b.yaml", "c.yaml"]);
        assert_eq!(before.len(), 2, "nothing is remembered of what is gone");
    }
}
