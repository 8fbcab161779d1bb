//! Starting and steering the data plane.

mod descriptors;
pub(crate) mod generations;
mod memory;
mod operate;
pub(crate) mod overload;
mod shared;
mod threads;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_config::model::{ListenerName, Locality, Model};
use weir_config::settings::{AccessLogFormat, Overload};

pub(crate) use descriptors::Descriptors;
pub use operate::{Action, OperateError, Operated, Operation};
pub(crate) use shared::{ListenerState, Shared};

use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Served;
use crate::worker::Command;

/// How the data plane runs; what it serves comes with [`Handle::publish`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads. Default: the CPUs that this process may use, the cgroup's quota respected.
    pub workers: usize,
    pub access_log: AccessLogFormat,
    /// Client connections held at once over all workers; default from the descriptor limit: of what is left when
    /// [`Options::reserve_descriptors`] are held back, two for each, less up to an eighth for the pipes of long streams.
    pub max_connections: Option<usize>,
    /// Descriptors held back for admin, discovery and reload. Default 128, at most a quarter of the limit.
    pub reserve_descriptors: usize,
    /// Where this proxy runs, for balancing by locality. Default: not known, and then place does not matter.
    pub locality: Option<Locality>,
    /// What is refused when there is more to do than the process can hold.
    pub overload: Overload,
    /// Why it is not ready before the first model. Default `no configuration yet`.
    pub unconfigured: &'static str,
    /// A listener without which this is not ready, whatever else is bound.
    pub essential: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            access_log: AccessLogFormat::Json,
            max_connections: None,
            reserve_descriptors: 128,
            locality: None,
            overload: Overload::default(),
            unconfigured: "no configuration yet",
            essential: None,
        }
    }
}

/// How long the last spans may take at the end.
const EXPORT: Duration = Duration::from_secs(2);

/// The data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "a thread could not be started: {0}; look at the limits on processes (`ulimit -u`, the cgroup's pids.max)"
    )]
    Thread(std::io::Error),
    #[error("a runtime could not be started: {0}; look at the limit on open files (`ulimit -n`)")]
    Runtime(std::io::Error),
}

/// What came of a model that was published.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    pub generation: u64,
    /// Listeners that could not be bound; the others serve.
    pub listener_errors: Vec<(ListenerName, String)>,
}

/// Whether traffic should be sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    /// `serving generation 7`, or what is waited for.
    pub reason: String,
}

/// The running data plane; it stops when this is dropped.
pub struct Proxy {
    handle: Handle,
    threads: threads::Threads,
}

impl Proxy {
    /// Starts workers and the auxiliary thread. Nothing is served before the first [`Handle::publish`].
    ///
    /// # Errors
    /// [`StartError`] when the system gives no thread or no descriptors.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(&options));
        let threads = threads::Threads::start(&shared, &options)?;
        Ok(Self {
            handle: Handle { shared },
            threads,
        })
    }

    /// A handle to publish to and to ask.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Leaves in order (semantics 35): readiness fails at once; for `grace` new connections are still
    /// served, so that those who have not noticed lose nothing; then no more are accepted, idle ones
    /// close, and requests in flight have until `drain` after that. Returns whether all of them ended.
    pub async fn shutdown(self, grace: Duration, drain: Duration) -> bool {
        self.handle.set_draining();
        tokio::time::sleep(grace).await;
        self.handle.shared.send_all(|| Command::Drain);
        let until = Instant::now() + drain;
        while Instant::now() < until && !self.threads.workers_are_done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let complete = self.threads.workers_are_done();
        self.handle.shared.access_log().close();
        if !self.handle.shared.traces().close(EXPORT).await {
            tracing::warn!("the receiver of spans did not take the last of them in time");
        }
        complete
    }
}

/// Publishes to and asks the data plane; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Puts a model into force: binds new listeners, compiles, swaps, closes listeners that are gone. Requests in
    /// flight end on what they started with. Blocks for as long as compiling takes; never call it on a
    /// runtime that serves.
    pub fn publish(&self, model: Arc<Model>, generation: u64) -> Applied {
        self.shared.publish(model, generation)
    }

    /// The generation in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// Whether traffic should be sent here.
    #[must_use]
    pub fn ready(&self) -> Readiness {
        self.shared.readiness()
    }

    /// From now on [`Handle::ready`] says no and responses ask clients to come back elsewhere.
    pub fn set_draining(&self) {
        self.shared.set_draining();
    }

    /// What was sent to each service since the start, by listeners of which `counts` is true by their names.
    #[must_use]
    pub fn served(&self, counts: impl Fn(&str) -> bool) -> BTreeMap<String, Served> {
        self.shared.metrics().served(counts)
    }

    /// Requests and calls in flight now, of all listeners.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.metrics().in_flight()
    }

    /// Client connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.metrics().downstream_connections()
    }

    /// Worker threads.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers()
    }

    /// Requests counted for each version of a service since the start.
    #[must_use]
    pub fn observed_split(&self, service: &str) -> Vec<(String, u64)> {
        self.shared.metrics().requests_by_version(service)
    }

    /// Where listeners are bound, in the order of their ids.
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.shared
            .listeners()
            .iter()
            .filter(|l| l.error.is_none())
            .map(|l| l.bind)
            .collect()
    }

    /// The data plane's part of the admin API: `/live`, `/ready`, `/metrics` and the dumps under `/api/v1`.
    pub fn router(&self) -> axum::Router {
        self.router_with(Arc::new(String::new))
    }

    /// The same with more metric families at the end of `/metrics`, as exposition text.
    pub fn router_with(&self, extra: Arc<dyn Fn() -> String + Send + Sync>) -> axum::Router {
        crate::admin::router(Arc::clone(&self.shared), extra)
    }
}
