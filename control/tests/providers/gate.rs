//! The gate in front of another source's engine: nothing that a provider needs gets lost in it.

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use weir_control::ControlOptions;
use weir_control::gate::Gate;

use super::Source;
use crate::fake_engine::Engine;

/// A source that is a fake engine.
pub(crate) trait Engined: Source {
    fn engine(&self) -> &Engine;
    /// To watch it at that address.
    fn options_at(&self, endpoint: String) -> ControlOptions;
}

pub(crate) struct Behind<S> {
    source: S,
    dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl<S> Drop for Behind<S> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<S: Engined> Source for Behind<S> {
    async fn start() -> Self {
        let source = S::start().await;
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let gate = Gate::new(&format!("unix://{}", source.engine().path().display())).unwrap();
        let listener = UnixListener::bind(dir.path().join("gate.sock")).unwrap();
        tokio::spawn(gate.serve(listener, stop.clone()));
        Self { source, dir, stop }
    }

    fn name() -> String {
        S::name()
    }

    fn options(&self) -> ControlOptions {
        let socket = self.dir.path().join("gate.sock");
        self.source
            .options_at(format!("unix://{}", socket.display()))
    }

    fn set(&self, hosts: &[u8]) {
        self.source.set(hosts);
    }

    fn lose_all(&self) {
        self.source.lose_all();
    }

    fn lose_but(&self, host: u8) {
        self.source.lose_but(host);
    }

    fn down(&self) {
        self.source.down();
    }

    fn up(&self) {
        self.source.up();
    }

    fn spoil(&self) -> &'static str {
        self.source.spoil()
    }
}
