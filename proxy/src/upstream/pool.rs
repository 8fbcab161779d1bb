//! Idle connections to one endpoint, owned by one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::endpoint::EndpointState;
use super::local::{Local, LocalEndpoint, LocalService};
use super::multiplex::Place;
use super::wait::{Turn, Waiters};
use crate::http::h2::exchange::Exchange;
use crate::socket::Socket;

/// A connection to an endpoint, between requests.
struct Idle {
    stream: Socket,
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
        while let Some(mut connection) = idle.pop() {
            if connection.stream.is_clean() {
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
                    hold: Hold::Whole(open),
                });
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
            hold,
        } = lease;
        // A stream's connection is where it was all the time.
        let Hold::Whole(open) = hold else {
            return;
        };
        let turn = open.waiters.turn();
        let mut idle = endpoint.pool.idle.borrow_mut();
        // To be closed is the only way in which it can become another worker's.
        let stays = !endpoint.pool.closed.get() && open.era == endpoint.era.get();
        if stays && idle.len() < keep && turn != Turn::Other {
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

    /// Has one that nobody has used yet wait for the first who takes it.
    pub(super) fn stock(lease: Lease, now: u64) {
        let Hold::Whole(open) = lease.hold else {
            return;
        };
        let endpoint = lease.endpoint;
        if !endpoint.pool.closed.get() && open.era == endpoint.era.get() {
            endpoint.pool.idle.borrow_mut().push(Idle {
                stream: lease.stream,
                since: now,
                served: lease.served,
                open,
            });
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

    /// Closes what is idle.
    pub(crate) fn clear(&self) {
        drop(self.idle.take());
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

/// A connection, or a stream of one, in use for one request.
pub(crate) struct Lease<S = Socket> {
    pub(crate) stream: S,
    pub(crate) served: u32,
    pub(crate) endpoint: Rc<LocalEndpoint>,
    hold: Hold,
}

/// What is held of the endpoint's connections meanwhile.
enum Hold {
    Whole(Open),
    /// Kept for what happens when it drops.
    Stream(#[expect(dead_code, reason = "its drop gives the stream's place back")] Place),
}

impl<S> Lease<S> {
    /// A new connection, and the room it was made in.
    pub(crate) fn new(stream: S, endpoint: &Rc<LocalEndpoint>, open: Open) -> Self {
        Self {
            stream,
            served: 0,
            endpoint: Rc::clone(endpoint),
            hold: Hold::Whole(open),
        }
    }

    /// Whether an earlier request used the connection.
    pub(crate) fn is_reused(&self) -> bool {
        self.served > 0
    }
}

impl Lease {
    /// A stream on which a request was begun.
    pub(crate) fn of_stream(exchange: Exchange, place: Place) -> Self {
        Self {
            stream: Socket::H2(Box::new(exchange)),
            served: u32::from(place.is_reused()),
            endpoint: Rc::clone(place.endpoint()),
            hold: Hold::Stream(place),
        }
    }
}

/// An open connection to an endpoint: counted by the worker, whose tick carries the number to the metrics, and against
/// the limits of the service and the endpoint.
pub(crate) struct Open {
    count: Rc<Cell<usize>>,
    state: Arc<EndpointState>,
    waiters: Rc<Waiters>,
    /// By which settings of the service it is made.
    era: u32,
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
        if !service.waiters.take(all, pool.max_connections) {
            return None;
        }
        let most = pool.max_connections_per_endpoint.unwrap_or(u32::MAX);
        if !state.connections.try_acquire(most) {
            // Who looked meanwhile found one place too few, and waits. No word of it beside the call: we would find it as we
            // join the line ourselves.
            all.release();
            service.waiters.call();
            return None;
        }
        count.set(count.get() + 1);
        Some(Self {
            count: Rc::clone(count),
            state: Arc::clone(state),
            waiters: Rc::clone(&service.waiters),
            era: service.era,
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
            if others.any(|other| other.pool.close_one()) {
                return take();
            }
            // One of HTTP/2 closes a moment later, and calls who waits then.
            let mut others = Local::endpoints(service).iter();
            let _ = others.any(|other| other.multiplex.close_one());
            None
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.set(self.count.get().saturating_sub(1));
        self.state.connections.release();
        self.waiters
            .give_back(&self.state.home.breakers.connections);
    }
}
