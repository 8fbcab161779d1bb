//! What is attacked: a proxy in front of an origin that records, and is slow or large where it is asked to be.

use std::net::SocketAddr;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

/// A proxy and the origin behind it.
pub(crate) struct Target {
    proxy: Proxy,
    pub(crate) origin: Origin,
    /// Of each large answer that ended: how long that took.
    large: Large,
}

type Large = Arc<Mutex<Vec<Duration>>>;

pub(crate) enum Proxy {
    Weir(Box<Weir>),
    Peer(Peer),
}

/// Another proxy, and the directory of its files.
pub(crate) struct Peer {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) _dir: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Target {
    /// Weir as it comes, with one worker.
    pub(crate) fn weir() -> Self {
        let (origin, large) = origin();
        let weir = Weir::start(&Setup::to(&origin));
        Self {
            proxy: Proxy::Weir(Box::new(weir)),
            origin,
            large,
        }
    }

    pub(crate) fn of(peer: Peer, (origin, large): (Origin, Large)) -> Self {
        Self {
            proxy: Proxy::Peer(peer),
            origin,
            large,
        }
    }

    /// As Weir counts it; 0 of another proxy.
    pub(crate) fn metric(&self, family: &str, labels: &[&str]) -> u64 {
        let Proxy::Weir(weir) = &self.proxy else {
            return 0;
        };
        weir.metric(family, labels) as u64
    }

    /// How many of the large answers ended at the origin, well or not, within that time.
    pub(crate) fn ended_within(&self, time: Duration) -> usize {
        let large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.iter().filter(|took| **took <= time).count()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match &self.proxy {
            Proxy::Weir(weir) => weir.addr(),
            Proxy::Peer(peer) => peer.addr,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.proxy {
            Proxy::Weir(weir) => weir.pid(),
            Proxy::Peer(peer) => peer.child.id(),
        }
    }

    /// Requests of an attack that reached the origin.
    pub(crate) fn attacks_seen(&self) -> usize {
        let requests = self.origin.requests();
        let attacks = requests.iter().filter(|r| r.target().contains("/attack/"));
        attacks.count()
    }
}

/// `/attack/slow` takes a second, `/attack/1m` is a megabyte.
pub(crate) fn origin() -> (Origin, Large) {
    let body = "x".repeat(1 << 20);
    let large = Large::default();
    let ended = Arc::clone(&large);
    let origin = Origin::start(move |exchange| {
        exchange.body()?;
        match exchange.head.word(1) {
            "/attack/slow" => {
                std::thread::sleep(Duration::from_secs(1));
                exchange.reply(200, "", "OK")
            }
            "/attack/1m" => {
                let start = Instant::now();
                let sent = exchange.reply(200, "", &body);
                let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                ended.push(start.elapsed());
                sent
            }
            _ => exchange.reply(200, "", "OK"),
        }
        .map(|_| After::Keep)
    });
    (origin, large)
}
