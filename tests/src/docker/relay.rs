//! A relay in front of the engine's socket: an engine that goes away and comes back, at will.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::SOCKET;

/// A unix socket that passes everything on to the engine, until it is cut.
#[derive(Debug)]
pub struct Relay {
    dir: tempfile::TempDir,
    open: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Relay {
    /// A new one, passing.
    ///
    /// # Panics
    /// When its socket cannot be made.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the socket");
        let listener = UnixListener::bind(dir.path().join("docker.sock")).expect("a unix socket");
        let open = Arc::new(AtomicBool::new(true));
        let streams: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (passing, held) = (Arc::clone(&open), Arc::clone(&streams));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if !passing.load(Ordering::SeqCst) {
                    // Accepted and closed at once: an engine that is restarting behind its socket.
                    continue;
                }
                // A refusal of the engine closes the client, as it should.
                let _ = pass(client, &held);
            }
        });
        Self { dir, open, streams }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Gives its socket this mode, and lets everybody reach the directory it lies in.
    ///
    /// # Panics
    /// When it cannot be changed.
    pub fn set_mode(&self, mode: u32) {
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("change a mode");
        };
        set(self.dir.path(), 0o755);
        set(&self.socket(), mode);
    }

    /// Ends every connection, and each new one as soon as it comes.
    pub fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        for stream in self
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            // One that is closed already is what is wanted.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Passes again.
    pub fn restore(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

fn pass(client: UnixStream, held: &Mutex<Vec<UnixStream>>) -> io::Result<()> {
    let engine = UnixStream::connect(SOCKET)?;
    held.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend([client.try_clone()?, engine.try_clone()?]);
    for (mut from, mut to) in [(client.try_clone()?, engine.try_clone()?), (engine, client)] {
        std::thread::spawn(move || {
            // However it ends, the other side is told.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
    Ok(())
}
