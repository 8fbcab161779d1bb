//! The proxies that are connected, and how each is doing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use super::agent::Agent;
use crate::session::{Progress, Protocol};

/// A connected proxy.
#[derive(Debug, Clone)]
pub struct ProxyStatus {
    pub name: String,
    /// The service that it is a workload of, proved by an identity of the mesh.
    pub service: Option<String>,
    pub agent: Agent,
    /// Its program and version, as it says.
    pub version: String,
    pub protocol: Protocol,
    pub peer: SocketAddr,
    pub connected: SystemTime,
    pub progress: Progress,
    /// Since when it is not where it should be; `None`: it is there.
    pub behind_since: Option<Instant>,
    /// What it is not told because it could not understand it.
    pub left_out: Arc<[String]>,
}

/// Told of proxies as they come, move and go.
pub trait Watch: Send + Sync + 'static {
    /// A proxy came, or is somewhere else than before.
    fn moved(&self, status: &ProxyStatus);
    /// A proxy's stream ended, and it has no other.
    fn gone(&self, name: &str);
}

/// All of them. The lock is held for copying only.
pub struct Proxies {
    watch: Arc<dyn Watch>,
    next: AtomicU64,
    known: Mutex<BTreeMap<u64, ProxyStatus>>,
}

impl Proxies {
    pub(super) fn new(watch: Arc<dyn Watch>) -> Self {
        Self {
            watch,
            next: AtomicU64::new(1),
            known: Mutex::default(),
        }
    }

    /// Everyone who is connected, by name; of two streams of one name the newer.
    #[must_use]
    pub fn list(&self) -> Vec<ProxyStatus> {
        let by_name: BTreeMap<String, ProxyStatus> = self
            .lock()
            .values()
            .map(|status| (status.name.clone(), status.clone()))
            .collect();
        by_name.into_values().collect()
    }

    pub(super) fn join(self: &Arc<Self>, status: ProxyStatus) -> Seat {
        let id = self.next.fetch_add(1, Relaxed);
        self.lock().insert(id, status);
        Seat {
            id,
            proxies: Arc::clone(self),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, ProxyStatus>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place among them; it leaves when this is dropped.
pub(super) struct Seat {
    id: u64,
    proxies: Arc<Proxies>,
}

impl Seat {
    /// Notes how the proxy is doing.
    pub(super) fn note(&self, progress: &Progress, left_out: &Arc<[String]>, now: Instant) {
        let told = {
            let mut known = self.proxies.lock();
            let Some(status) = known.get_mut(&self.id) else {
                return;
            };
            if status.progress == *progress && Arc::ptr_eq(&status.left_out, left_out) {
                return;
            }
            let is_there = progress.acked == Some(progress.target);
            status.behind_since = match is_there {
                true => None,
                false => status.behind_since.or(Some(now)),
            };
            status.progress = progress.clone();
            status.left_out = Arc::clone(left_out);
            status.clone()
        };
        self.proxies.watch.moved(&told);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gone = {
            let mut known = self.proxies.lock();
            known.remove(&self.id).filter(|left| {
                let mut others = known.values();
                !others.any(|other| other.name == left.name)
            })
        };
        if let Some(left) = gone {
            self.proxies.watch.gone(&left.name);
        }
    }
}
