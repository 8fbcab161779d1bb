//! Idle connections to one endpoint, owned by one worker.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use tokio::net::TcpStream;

use super::local::LocalEndpoint;

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
        let mut idle = endpoint.pool.idle.borrow_mut();
        if !endpoint.pool.closed.get() && idle.len() < keep {
            idle.push(Idle {
                stream,
                since: now,
                served: served.saturating_add(1),
                open,
            });
        }
    }

    /// Closes what is idle and keeps nothing from now on.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.idle.borrow_mut().clear();
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
    /// A new connection; `open` is the worker's count of them.
    pub(crate) fn new(
        stream: TcpStream,
        endpoint: &Rc<LocalEndpoint>,
        open: &Rc<Cell<usize>>,
    ) -> Self {
        Self {
            stream,
            served: 0,
            endpoint: Rc::clone(endpoint),
            open: Open::new(open),
        }
    }

    /// Whether an earlier request used the connection.
    pub(crate) fn is_reused(&self) -> bool {
        self.served > 0
    }
}

/// A request in flight on an endpoint, from its being picked to its end.
pub(crate) struct InFlight(Rc<LocalEndpoint>);

impl InFlight {
    pub(crate) fn new(endpoint: &Rc<LocalEndpoint>) -> Self {
        endpoint.state.begin();
        Self(Rc::clone(endpoint))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.end();
    }
}

/// Counts open connections of a worker; the worker's tick carries the number to the metrics.
pub(crate) struct Open(Rc<Cell<usize>>);

impl Open {
    pub(crate) fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
