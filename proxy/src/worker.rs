//! A worker: one thread that accepts, serves and counts by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::mpsc;
use weir_config::model::ConnectionPool;

use crate::buffer::BufferPool;
use crate::http::h1::serve::Scratch;
use crate::http::h2::offenders::Offenders;
use crate::http::h2::residents::Residents;
use crate::http::h2::serve::Begun;
use crate::listener::accept;
use crate::listener::stop::{Ending, Serving};
use crate::runtime::generations::Follower;
use crate::runtime::{Descriptors, Shared};
use crate::snapshot::ListenerId;
use crate::stream::standing::Standings;
use crate::tcp::pipe::PipePool;
use crate::telemetry::access_log::LogShard;
use crate::telemetry::metrics::Shard;
use crate::telemetry::trace::queue;
use crate::timer::{TICK, Timers};
use crate::tls::strangers::Strangers;
use crate::udp;
use crate::upstream::local::Local;
use crate::upstream::pool::{Lease, Pool};

/// The random numbers of one worker: fast, and seeded by the operating system.
pub(crate) type Random = SmallRng;

/// Idle connections to one endpoint that are kept where descriptors are scarce.
const FEW_IDLE: usize = 128;

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
    pub(crate) pipes: Rc<PipePool>,
    pub(crate) metrics: Shard,
    pub(crate) log: LogShard,
    pub(crate) traces: queue::Shard,
    pub(crate) random: RefCell<Random>,
    /// Parsed heads and output, lent to connections while they serve a request.
    #[expect(
        clippy::vec_box,
        reason = "each is moved out and in again for every request"
    )]
    pub(crate) scratch: RefCell<Vec<Box<Scratch>>>,
    /// Connections to endpoints that are open, idle ones included.
    pub(crate) upstream_open: Rc<Cell<usize>>,
    /// Tasks that wait for a stream of HTTP/2 to serve.
    pub(crate) residents: Residents<Box<Begun>>,
    /// Clients that were turned away in the handshake.
    pub(crate) strangers: Strangers,
    /// Clients of HTTP/2 that were sent away a moment ago.
    pub(crate) offenders: Offenders,
    /// Streams of TCP and UDP, to be judged again when rules change.
    pub(crate) standings: Standings,
    /// Mirrored requests under way.
    pub(crate) mirrors: Cell<usize>,
    draining: Cell<bool>,
    follower: Follower,
    listeners: RefCell<Vec<Serving>>,
    /// Connections this worker may hold at once.
    pub(crate) max_connections: usize,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, share: Descriptors) -> Rc<Self> {
        Rc::new(Self {
            metrics: shared.metrics().shard(),
            log: shared.access_log().shard(),
            traces: shared.traces().shard(),
            follower: Follower::new(shared.published()),
            timers: Rc::new(Timers::new(shared.clock().start())),
            shared,
            buffers: Rc::default(),
            pipes: PipePool::new(share.pipes),
            random: RefCell::new(SmallRng::from_rng(&mut rand::rng())),
            scratch: RefCell::default(),
            upstream_open: Rc::default(),
            residents: Residents::default(),
            strangers: Strangers::default(),
            offenders: Offenders::default(),
            standings: Standings::default(),
            mirrors: Cell::default(),
            draining: Cell::new(false),
            listeners: RefCell::default(),
            max_connections: share.connections,
        })
    }

    /// The current generation; one atomic load unless it has changed.
    pub(crate) fn local(&self) -> Rc<Local> {
        self.follower.local(self.timers.now(), &self.random)
    }

    /// For a request that found nobody in the generation it began on: the one in force, if that is another.
    pub(crate) fn newer(&self, than: &Rc<Local>) -> Option<Rc<Local>> {
        self.follower.newer(than, self.timers.now(), &self.random)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether responses should tell clients to come back on another connection.
    pub(crate) fn says_goodbye(&self) -> bool {
        self.draining.get() || self.shared.draining()
    }

    /// Whether connections should end with the answer they get: memory is short.
    pub(crate) fn spares_memory(&self) -> bool {
        self.shared.overload().is_tight()
    }

    /// Gives a connection back after a whole exchange, unless it has had as many requests as it may have.
    pub(crate) fn give_back(&self, lease: Lease, pool: &ConnectionPool) {
        let limit = pool.max_requests_per_connection;
        let worn = limit > 0 && lease.served.saturating_add(1) >= limit;
        if !worn {
            let keep = self.idle_connections(pool.max_idle_per_endpoint);
            Pool::put(lease, self.timers.now(), keep);
        }
    }

    /// Idle connections that an endpoint may have, by its setting; no more than [`FEW_IDLE`] where those to endpoints have a
    /// quarter of the descriptors that clients have, for other endpoints may need some before they are closed.
    fn idle_connections(&self, setting: usize) -> usize {
        match self.upstream_open.get() > self.max_connections / 4 {
            true => setting.min(FEW_IDLE),
            false => setting,
        }
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
        self.traces.flush();
        self.metrics.upstream_connections(self.upstream_open.get());
        if count.is_multiple_of(8) {
            let local = self.local();
            self.standings.judge(&local.snapshot, self);
            for service in &self.follower.followed().services {
                service.warm_up();
            }
        }
        self.serve_waiters();
        if count.is_multiple_of(40) {
            self.expire_idle();
        }
        if count.is_multiple_of(400) {
            self.buffers.shrink();
            self.pipes.shrink();
            self.scratch.borrow_mut().truncate(64);
            self.residents.shrink();
        }
        if count.is_multiple_of(8) && self.spares_memory() {
            self.buffers.shrink();
            self.pipes.shrink();
            self.residents.shrink();
            let mut scratch = self.scratch.borrow_mut();
            let keep = scratch.len() / 2;
            scratch.truncate(keep);
        }
    }

    /// Calls those who wait for connections that other workers may have closed, and closes idle ones that others wait for.
    fn serve_waiters(&self) {
        if self.shared.waiting() == 0 {
            return;
        }
        for service in &self.follower.followed().services {
            let breakers = &service.table.state.breakers;
            let most = service.table.service.pool.max_connections;
            if !service.waiters.is_empty() {
                service.waiters.call_own();
            } else if breakers.pending.taken() > 0 && breakers.connections.taken() >= most {
                let mut endpoints = Local::endpoints(service).iter();
                endpoints.any(|e| e.pool.close_one() || e.multiplex.close_one());
            }
        }
    }

    fn expire_idle(&self) {
        let now = self.timers.now();
        let local = Rc::clone(&self.follower.followed());
        for (service, endpoint) in local.pools() {
            let timeout = service.table.service.pool.idle_timeout.as_millis() as u64;
            endpoint.pool.expire(now.saturating_sub(timeout));
            endpoint.multiplex.expire(now.saturating_sub(timeout));
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
    worker.traces.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_connections_are_kept_idle_where_descriptors_are_scarce() {
        let share = Descriptors {
            connections: 400,
            pipes: 0,
        };
        let worker = Worker::new(Arc::new(Shared::for_tests()), share);
        worker.upstream_open.set(100);
        assert_eq!(worker.idle_connections(1024), 1024);
        worker.upstream_open.set(101);
        assert_eq!(worker.idle_connections(1024), FEW_IDLE);
        assert_eq!(worker.idle_connections(8), 8);
    }
}
