//! What the threads of the data plane have in common, none of it touched per request but the snapshot and the state of overload.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use weir_config::model::{Capture, Listener, ListenerName, Model, Protocol};

use super::descriptors::Descriptors;
use super::generations::{Generations, InForce};
use super::overload::Overload;
use super::{Applied, Options, Readiness};
use crate::listener::bind::{BindError, Place, Sockets, Transport, bind};
use crate::snapshot::{Interner, ListenerId, Snapshot};
use crate::sync::ArcSwap;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::queue::Queue;
use crate::upstream::probe::Prober;
use crate::upstream::registry::Registry;
use crate::upstream::service::Clock;
use crate::worker::Command;

/// The data plane's common state.
pub(crate) struct Shared {
    generations: Generations,
    /// Requests that wait for a connection, over all workers.
    waiting: AtomicUsize,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    traces: Arc<Queue>,
    prober: OnceLock<Prober>,
    draining: AtomicBool,
    /// Why it is not ready before the first model.
    unconfigured: &'static str,
    essential: Option<&'static str>,
    overload: Arc<Overload>,
    workers: Mutex<Vec<UnboundedSender<Command>>>,
    /// Held for the whole of a publish: generations come one after another.
    listeners: Mutex<Vec<ListenerState>>,
    next_listener: AtomicU32,
    descriptors: Descriptors,
}

/// A listener as it stands.
#[derive(Debug, Clone)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    pub(crate) name: ListenerName,
    pub(crate) bind: SocketAddr,
    pub(crate) protocol: Protocol,
    /// It has no socket of its own, but what was redirected to another.
    pub(crate) captures: bool,
    /// Its sockets take what the kernel hands over.
    pub(crate) handed_over: bool,
    /// Why it is not bound.
    pub(crate) error: Option<String>,
}

impl ListenerState {
    /// A listener is its address, its transport and whose connections its sockets take: one that changes anything else keeps
    /// them.
    fn is(&self, listener: &Listener) -> bool {
        if self.captures || captures(listener) {
            return self.captures && captures(listener) && self.name == listener.name;
        }
        self.bind == listener.bind
            && self.protocol.shares_ports_with(listener.protocol)
            && self.handed_over == handed_over(listener)
    }
}

impl Shared {
    pub(super) fn new(options: &Options) -> Self {
        let labels = Arc::new(Interner::default());
        let metrics = Arc::new(Metrics::new(Arc::clone(&labels)));
        Self {
            generations: Generations::new(options.locality.clone(), labels),
            waiting: AtomicUsize::new(0),
            access_log: AccessLog::stdout(options.access_log, Arc::clone(&metrics)),
            traces: Arc::new(Queue::new(Arc::clone(&metrics))),
            metrics,
            prober: OnceLock::new(),
            draining: AtomicBool::new(false),
            unconfigured: options.unconfigured,
            essential: options.essential,
            overload: Arc::new(Overload::new(&options.overload)),
            workers: Mutex::default(),
            listeners: Mutex::default(),
            next_listener: AtomicU32::new(0),
            descriptors: Descriptors::of_process(options),
        }
    }

    /// Of a data plane without threads, listeners or a log.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::new(&Options {
            access_log: weir_config::settings::AccessLogFormat::Off,
            ..Options::default()
        })
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.generations.current()
    }

    pub(crate) fn published(&self) -> &Arc<ArcSwap<Snapshot>> {
        self.generations.published()
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// Spans that are to be exported.
    pub(crate) fn traces(&self) -> &Arc<Queue> {
        &self.traces
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.generations.registry()
    }

    /// Lets go of what nobody uses any more.
    pub(super) fn sweep(&self) {
        self.generations.sweep();
    }

    pub(crate) fn clock(&self) -> Clock {
        self.registry().clock()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn waits(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waits_no_longer(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn overload(&self) -> &Arc<Overload> {
        &self.overload
    }

    /// The share in use of each limited resource of the process.
    pub(crate) fn pressure(&self) -> Vec<(&'static str, f64)> {
        let workers = self.workers();
        let most = self.share_of_descriptors(workers).connections * workers;
        self.overload
            .pressure(self.metrics.downstream_connections(), most)
    }

    pub(crate) fn workers(&self) -> usize {
        lock(&self.workers).len()
    }

    /// What one worker may have open.
    pub(super) fn share_of_descriptors(&self, workers: usize) -> Descriptors {
        self.descriptors.share(workers)
    }

    pub(super) fn add_worker(&self, commands: UnboundedSender<Command>) {
        lock(&self.workers).push(commands);
    }

    pub(super) fn set_prober(&self, prober: Prober) {
        // Set once, by the thread that runs it, before anything is published.
        drop(self.prober.set(prober));
    }

    pub(super) fn send_all(&self, command: impl Fn() -> Command) {
        for worker in &*lock(&self.workers) {
            // A worker that is gone has nothing left to do.
            drop(worker.send(command()));
        }
    }

    pub(crate) fn listeners(&self) -> Vec<ListenerState> {
        lock(&self.listeners).clone()
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let generation = self.generations.current().generation;
        let listeners = lock(&self.listeners);
        let bound = listeners.iter().any(|l| l.error.is_none());
        let (ready, reason) = match (self.draining(), generation, bound) {
            (true, ..) => (false, "draining".to_string()),
            (_, 0, _) => (false, self.unconfigured.to_string()),
            (_, _, false) => (false, "no listener is bound".to_string()),
            (_, generation, true) => match self.missing(&listeners) {
                Some(why) => (false, why),
                None => (true, format!("serving generation {generation}")),
            },
        };
        Readiness { ready, reason }
    }

    /// Why the listener is not served without which this is not ready.
    fn missing(&self, listeners: &[ListenerState]) -> Option<String> {
        let name = self.essential?;
        match listeners.iter().find(|l| l.name.as_str() == name) {
            Some(listener) => {
                let error = listener.error.as_ref()?;
                Some(format!("listener {name} is not bound: {error}"))
            }
            None => Some(format!("there is no listener {name} now")),
        }
    }

    /// The names of what is counted.
    pub(crate) fn labels(&self) -> &Interner {
        self.generations.labels()
    }

    pub(super) fn publish(&self, model: Arc<Model>, generation: u64) -> Applied {
        let mut states = lock(&self.listeners);
        let added = self.bind_listeners(&mut states, &model);
        let ids: Vec<(ListenerId, Arc<Listener>)> = states
            .iter()
            .filter_map(|state| Some((state.id, Arc::clone(model.listener(state.name.as_str())?))))
            .collect();
        let next = self.generations.publish(&model, generation, &ids);
        for (id, sockets) in added {
            self.hand_out(&next, id, sockets);
        }
        self.close_listeners(&next, &mut states);
        let next = next.snapshot();
        self.metrics
            .sweep(Instant::now(), |series| next.knows(series));
        if let Some(prober) = self.prober.get() {
            prober.update(next);
        }
        let failed = states
            .iter()
            .filter_map(|l| Some((l.name.clone(), l.error.clone()?)));
        Applied {
            generation,
            listener_errors: failed.collect(),
        }
    }

    /// Binds what is new.
    fn bind_listeners(
        &self,
        states: &mut Vec<ListenerState>,
        model: &Model,
    ) -> Vec<(ListenerId, Sockets)> {
        let mut added = Vec::new();
        for listener in &model.listeners {
            let at = states.iter().position(|state| state.is(listener));
            if let Some(state) = at.map(|at| &mut states[at])
                && state.error.is_none()
            {
                state.name = listener.name.clone();
                state.protocol = listener.protocol;
                continue;
            }
            states.retain(|state| !state.is(listener));
            let same_port = |state: &ListenerState| {
                state.error.is_none()
                    && !state.captures
                    && state.bind.port() == listener.bind.port()
                    && state.protocol.shares_ports_with(listener.protocol)
            };
            let ours = states.iter().any(same_port);
            // Never used again: connections of a listener that is gone must not find the routes of another.
            let id = ListenerId(self.next_listener.fetch_add(1, Ordering::Relaxed));
            let place = Place {
                address: listener.bind,
                transport: Transport::from(listener.protocol),
                transparent: handed_over(listener),
            };
            let captures = captures(listener);
            let bound = match captures {
                true => Ok(None),
                false => bind_patiently(place, self.workers(), ours).map(Some),
            };
            let error = match bound {
                Ok(sockets) => {
                    added.extend(sockets.map(|sockets| (id, sockets)));
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            states.push(ListenerState {
                id,
                name: listener.name.clone(),
                bind: listener.bind,
                protocol: listener.protocol,
                captures,
                handed_over: place.transparent,
                error,
            });
        }
        added
    }

    /// One socket to each worker, and only once the snapshot that knows them is in force: never an empty 404.
    fn hand_out(&self, _: &InForce, id: ListenerId, sockets: Sockets) {
        let workers = lock(&self.workers);
        // A worker that is gone has nothing left to serve.
        match sockets {
            Sockets::Tcp(sockets) => {
                for (worker, socket) in workers.iter().zip(sockets) {
                    drop(worker.send(Command::Listen { id, socket }));
                }
            }
            Sockets::Udp(sockets) => {
                for (worker, socket) in workers.iter().zip(sockets) {
                    drop(worker.send(Command::ListenUdp { id, socket }));
                }
            }
        }
    }

    /// Those that the snapshot in force knows no more.
    fn close_listeners(&self, next: &InForce, states: &mut Vec<ListenerState>) {
        let model = &next.snapshot().model;
        let gone = |state: &ListenerState| !model.listeners.iter().any(|l| state.is(l));
        for state in states.iter().filter(|state| gone(state)) {
            self.send_all(|| Command::Close { id: state.id });
        }
        states.retain(|state| !gone(state));
    }
}

/// Whether it has no socket of its own.
fn captures(listener: &Listener) -> bool {
    matches!(listener.capture, Some(Capture::For(_)))
}

fn handed_over(listener: &Listener) -> bool {
    matches!(listener.capture, Some(Capture::HandedOver))
}

/// A listener that was removed a moment ago may still be closing.
fn bind_patiently(place: Place, count: usize, beside_ours: bool) -> Result<Sockets, BindError> {
    for _ in 0..10 {
        match bind(place, count, beside_ours) {
            Err(BindError::Taken(..)) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
    bind(place, count, beside_ours)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_is_to_be_handed_connections_gets_sockets_of_its_own() {
        let name = ListenerName::new("in").unwrap();
        let mut listener = Listener::new(name.clone(), ([127, 0, 0, 1], 1).into(), Protocol::Tcp);
        let state = ListenerState {
            id: ListenerId(0),
            name,
            bind: listener.bind,
            protocol: listener.protocol,
            captures: false,
            handed_over: false,
            error: None,
        };
        assert!(state.is(&listener));
        listener.capture = Some(Capture::HandedOver);
        assert!(!state.is(&listener));
    }
}
