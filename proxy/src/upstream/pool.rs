//! Idle connections to one endpoint, owned by one worker.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::endpoint::EndpointState;
use super::local::{Local, LocalEndpoint, LocalService};
use super::wait::{Turn, Waiters};

/// A connection to an endpoint, between requests.
struct Idle {
    stream: TcpStream,
    /// On the worker's clock.
    since: u64,
    /// Requests it has carried.
    served: u32,
    open: Open,
}

/// Last in, first out: the warmest connection is used, the coldest expires.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<Idle>>,
    closed: Cell<bool>,
}

impl Pool {
    /// A connection that is open as far as the kernel has told us. One that the endpoint closed, or sent something
    /// on unasked, is dropped (a response nobody waits for must never be read by the next request).
    pub(crate) fn take(endpoint: &Rc<LocalEndpoint>) -> Option<Lease> {
        let mut idle = endpoint.pool.idle.borrow_mut();
        while let Some(connection) = idle.pop() {
            // Costs no syscall unless the driver saw something happen on the socket.
            match connection.stream.try_read(&mut [0u8; 1]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Idle {
                        stream,
                        served,
                        open,
                        ..
                    } = connection;
                    return Some(Lease {
                        stream,
                        served,
                        endpoint: Rc::clone(endpoint),
                        open,
                    });
                }
                _ => {}
            }
        }
        None
    }

    /// Gives a connection back after a whole exchange.
    pub(crate) fn put(lease: Lease, now: u64, keep: usize) {
        let Lease {
            stream,
            served,
            endpoint,
            open,
        } = lease;
        let turn = open.waiters.turn();
        let mut idle = endpoint.pool.idle.borrow_mut();
        // To be closed is the only way in which it can become another worker's.
        if !endpoint.pool.closed.get() && idle.len() < keep && turn != Turn::Other {
            let waiters = (turn == Turn::Own).then(|| Rc::clone(&open.waiters));
            idle.push(Idle {
                stream,
                since: now,
                served: served.saturating_add(1),
                open,
            });
            if let Some(waiters) = waiters {
                waiters.call_own();
            }
        }
    }

    /// Whether a connection waits here for a request.
    #[inline]
    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.borrow().is_empty()
    }

    /// Closes the coldest idle connection; whether there was one.
    pub(crate) fn close_one(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let closed = (!idle.is_empty()).then(|| idle.remove(0));
        // Out of reach before it drops: that calls somebody who may look here.
        drop(idle);
        closed.is_some()
    }

    /// Closes what is idle and keeps nothing from now on.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        drop(self.idle.take());
    }

    /// Closes what has been idle since before that time.
    pub(crate) fn expire(&self, before: u64) {
        let mut idle = self.idle.borrow_mut();
        // The oldest are at the front.
        let gone = idle
            .iter()
            .take_while(|connection| connection.since < before)
            .count();
        idle.drain(..gone);
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
    }
}

/// A connection in use for one request, counted on its endpoint until it drops.
pub(crate) struct Lease {
    pub(crate) stream: TcpStream,
    pub(crate) served: u32,
    pub(crate) endpoint: Rc<LocalEndpoint>,
    open: Open,
}

impl Lease {
    /// A new connection, and the room it was made in.
    pub(crate) fn new(stream: TcpStream, endpoint: &Rc<LocalEndpoint>, open: Open) -> Self {
        Self {
            stream,
            served: 0,
            endpoint: Rc::clone(endpoint),
            open,
        }
    }

    /// Whether an earlier request used the connection.
    pub(crate) fn is_reused(&self) -> bool {
        self.served > 0
    }
}

/// An open connection to an endpoint: counted by the worker, whose tick carries the number to the metrics, and against
/// the limits of the service and the endpoint.
pub(crate) struct Open {
    count: Rc<Cell<usize>>,
    state: Arc<EndpointState>,
    waiters: Rc<Waiters>,
}

impl Open {
    /// Room for one more connection; `None` where a limit is reached.
    pub(crate) fn take(
        endpoint: &LocalEndpoint,
        service: &LocalService,
        count: &Rc<Cell<usize>>,
    ) -> Option<Self> {
        let pool = &service.table.service.pool;
        let state = &endpoint.state;
        let all = &state.home.breakers.connections;
        if !all.try_acquire(pool.max_connections) {
            return None;
        }
        let most = pool.max_connections_per_endpoint.unwrap_or(u32::MAX);
        if !state.connections.try_acquire(most) {
            all.release();
            return None;
        }
        count.set(count.get() + 1);
        Some(Self {
            count: Rc::clone(count),
            state: Arc::clone(state),
            waiters: Rc::clone(&service.waiters),
        })
    }
}

impl Open {
    /// The same, where an idle connection to another endpoint of the service may be closed for it.
    pub(crate) fn take_or_make_room(
        endpoint: &LocalEndpoint,
        service: &LocalService,
        count: &Rc<Cell<usize>>,
    ) -> Option<Self> {
        let take = || Self::take(endpoint, service, count);
        take().or_else(|| {
            let mut others = Local::endpoints(service).iter();
            others.any(|other| other.pool.close_one()).then(take)?
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.set(self.count.get().saturating_sub(1));
        self.state.connections.release();
        self.state.home.breakers.connections.release();
        self.waiters.call();
    }
}
