//! A worker: one thread that accepts, serves and counts by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::mpsc;

use crate::buffer::BufferPool;
use crate::http::h1::serve::Scratch;
use crate::listener::accept;
use crate::listener::stop::{Ending, Serving};
use crate::runtime::Shared;
use crate::snapshot::{ListenerId, Snapshot};
use crate::telemetry::access_log::LogShard;
use crate::telemetry::metrics::Shard;
use crate::timer::{TICK, Timers};
use crate::udp;
use crate::upstream::local::Local;

/// The random numbers of one worker: fast, and seeded by the operating system.
pub(crate) type Random = SmallRng;

/// What is asked of a worker from outside.
pub(crate) enum Command {
    /// Serve this socket.
    Listen {
        id: ListenerId,
        socket: std::net::TcpListener,
    },
    /// Serve this socket's datagrams.
    ListenUdp {
        id: ListenerId,
        socket: std::net::UdpSocket,
    },
    /// Take what is already queued on that listener, then close it.
    Close { id: ListenerId },
    /// Accept nothing more, finish what there is.
    Drain,
}

/// Everything that the connections of one worker share. Nothing in it is seen by another worker but
/// the counters, which only this one writes.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) timers: Rc<Timers>,
    pub(crate) buffers: Rc<BufferPool>,
    pub(crate) metrics: Shard,
    pub(crate) log: LogShard,
    pub(crate) random: RefCell<Random>,
    /// Parsed heads and output, lent to connections while they serve a request.
    #[expect(
        clippy::vec_box,
        reason = "each is moved out and in again for every request"
    )]
    pub(crate) scratch: RefCell<Vec<Box<Scratch>>>,
    /// Connections to endpoints that are open, idle ones included.
    pub(crate) upstream_open: Rc<Cell<usize>>,
    /// Connections from clients that were accepted and whose task has not run yet: a burst brings many at once.
    starting: Cell<usize>,
    /// Mirrored requests under way.
    pub(crate) mirrors: Cell<usize>,
    draining: Cell<bool>,
    snapshots: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    local: RefCell<Rc<Local>>,
    listeners: RefCell<Vec<Serving>>,
    /// Connections this worker may hold at once.
    max_connections: usize,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, max_connections: usize) -> Rc<Self> {
        Rc::new(Self {
            metrics: shared.metrics().shard(),
            log: shared.access_log().shard(),
            snapshots: RefCell::new(Cache::new(Arc::clone(shared.published()))),
            timers: Rc::new(Timers::new(shared.clock().start())),
            shared,
            buffers: Rc::default(),
            random: RefCell::new(SmallRng::from_rng(&mut rand::rng())),
            scratch: RefCell::default(),
            upstream_open: Rc::default(),
            starting: Cell::default(),
            mirrors: Cell::default(),
            draining: Cell::new(false),
            local: RefCell::new(Rc::new(Local::empty())),
            listeners: RefCell::default(),
            max_connections,
        })
    }

    /// The current generation; one atomic load unless it has changed.
    pub(crate) fn local(&self) -> Rc<Local> {
        let mut cache = self.snapshots.borrow_mut();
        let snapshot = cache.load();
        let local = self.local.borrow();
        if Arc::ptr_eq(snapshot, &local.snapshot) {
            return Rc::clone(&local);
        }
        let next = Rc::new(local.follow(
            Arc::clone(snapshot),
            self.timers.now(),
            &mut self.random.borrow_mut(),
        ));
        drop(local);
        *self.local.borrow_mut() = Rc::clone(&next);
        next
    }

    /// Whether it holds as many connections as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.timers.len() + self.starting.get() >= self.max_connections
    }

    /// A connection was accepted; its task says [`Self::begins`] once it runs.
    pub(crate) fn accepts(&self) {
        self.starting.set(self.starting.get() + 1);
    }

    /// A connection's task runs, and sets its alarm.
    pub(crate) fn begins(&self) {
        self.starting.set(self.starting.get().saturating_sub(1));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether responses should tell clients to come back on another connection.
    pub(crate) fn says_goodbye(&self) -> bool {
        self.draining.get() || self.shared.draining()
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Listen { id, socket } => self.serve(accept::start(self, id, socket)),
            Command::ListenUdp { id, socket } => self.serve(udp::start(self, id, socket)),
            Command::Close { id } => self.end(Ending::Close, |l| l.id == id),
            Command::Drain => {
                self.draining.set(true);
                self.end(Ending::Drain, |_| true);
            }
        }
    }

    fn serve(&self, started: std::io::Result<Serving>) {
        match started {
            Ok(serving) => self.listeners.borrow_mut().push(serving),
            Err(error) => tracing::error!(%error, "a worker cannot serve a listener"),
        }
    }

    fn end(&self, how: Ending, which: impl Fn(&Serving) -> bool) {
        let mut listeners = self.listeners.borrow_mut();
        for listener in listeners.iter().filter(|l| which(l)) {
            listener.end(how);
        }
        listeners.retain(|l| !which(l));
    }

    /// Deadlines, log batches, stale connections; also notices a new snapshot while no request does, so that
    /// idle connections to removed endpoints do not linger.
    fn tick(&self, count: u64) {
        self.timers.sweep(self.draining.get());
        self.log.flush();
        self.metrics.upstream_connections(self.upstream_open.get());
        if count.is_multiple_of(8) {
            self.local();
            for service in &self.local.borrow().services {
                service.warm_up();
            }
        }
        self.serve_waiters();
        if count.is_multiple_of(40) {
            self.expire_idle();
        }
        if count.is_multiple_of(400) {
            self.buffers.shrink();
            self.scratch.borrow_mut().truncate(64);
        }
    }

    /// Calls those who wait for connections that other workers may have closed, and closes idle ones that others wait for.
    fn serve_waiters(&self) {
        if self.shared.waiting() == 0 {
            return;
        }
        for service in &self.local.borrow().services {
            let breakers = &service.table.state.breakers;
            let most = service.table.service.pool.max_connections;
            if !service.waiters.is_empty() {
                service.waiters.call_own();
            } else if breakers.pending.taken() > 0 && breakers.connections.taken() >= most {
                let mut endpoints = Local::endpoints(service).iter();
                endpoints.any(|endpoint| endpoint.pool.close_one());
            }
        }
    }

    fn expire_idle(&self) {
        let now = self.timers.now();
        let local = Rc::clone(&self.local.borrow());
        for (service, endpoint) in local.pools() {
            let timeout = service.table.service.pool.idle_timeout.as_millis() as u64;
            endpoint.pool.expire(now.saturating_sub(timeout));
        }
    }
}

/// Runs a worker until it has drained, or its commands end.
pub(crate) async fn run(worker: Rc<Worker>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0u64;
    loop {
        // An idle worker looks up ten times a second, not forty.
        let idle = worker.timers.len() == 0;
        let next = async {
            if idle {
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                ticks.tick().await;
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => worker.obey(command),
                None => break,
            },
            () = next => {
                count += 1;
                worker.tick(count);
                if worker.is_draining() && worker.timers.len() == 0 {
                    break;
                }
            }
        }
    }
    worker.log.flush();
}
