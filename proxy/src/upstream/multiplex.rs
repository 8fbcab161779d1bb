//! Connections of HTTP/2 to one endpoint, owned by one worker: each carries many requests at once.
//!
//! A request takes the connection with the fewest streams that has room. While nobody knows of one, the first request
//! has it made and all wait for that one, so that a burst on a cold start does not open a connection each. It is made in
//! a task of its own: how long any of those who wait has time says nothing of the endpoint.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Ping;
use h2::client::SendRequest;
use weir_config::model::ConnectionPool;

use super::connect::ConnectError;
use super::heartbeat::{Heartbeat, LOOK_MS, Seen, Todo};
use super::local::{LocalEndpoint, LocalService};
use super::pool::Open;
use super::wait::{Turn, Waiters};
use crate::http::h2::io::Io;
use crate::http::h2::pulse::Pulse;
use crate::timer::{Rung, Timers};

/// Of one endpoint.
#[derive(Default)]
pub(crate) struct Multiplex {
    connections: RefCell<Vec<Rc<Shared>>>,
    making: Cell<bool>,
    /// Why the last one could not be made.
    failed: RefCell<Option<Failed>>,
    waiting: RefCell<Vec<Waker>>,
    /// The endpoint was asked, and speaks something else.
    declined: Cell<bool>,
    closed: Cell<bool>,
}

/// An error for all who waited.
#[derive(Debug, Clone)]
enum Failed {
    Io(io::ErrorKind, String),
    Rung(Rung),
}

/// The streams that are open on a connection.
pub(crate) type Streams = Rc<Cell<u32>>;

/// A connection that requests share.
pub(crate) struct Shared {
    requests: RefCell<SendRequest<Bytes>>,
    streams: Streams,
    served: Cell<u32>,
    /// On the worker's clock.
    used: Cell<u64>,
    /// Takes no more requests: another worker waits for the room it has.
    leaves: Cell<bool>,
}

/// Bounds of one connection, as the service sets them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// 0: as many as the endpoint takes.
    pub(crate) max_streams: u32,
    /// 0: without end.
    pub(crate) max_requests: u32,
}

impl Bounds {
    pub(crate) fn of(pool: &ConnectionPool) -> Self {
        Self {
            max_streams: pool.max_concurrent_streams,
            max_requests: pool.max_requests_per_connection,
        }
    }
}

/// A stream's place on a connection, until it drops.
pub(crate) struct Place {
    shared: Rc<Shared>,
    endpoint: Rc<LocalEndpoint>,
    waiters: Rc<Waiters>,
}

impl Multiplex {
    /// A place on the connection that has the fewest streams; `None` where all are full, or there is none.
    pub(crate) fn take(
        endpoint: &Rc<LocalEndpoint>,
        service: &LocalService,
        now: u64,
    ) -> Option<Place> {
        let bounds = Bounds::of(&service.table.service.pool);
        let mut connections = endpoint.multiplex.connections.borrow_mut();
        connections.retain(|shared| shared.is_open(bounds));
        let with_room = connections.iter().filter(|shared| shared.has_room(bounds));
        let shared = Rc::clone(with_room.min_by_key(|shared| shared.streams.get())?);
        shared.streams.set(shared.streams.get() + 1);
        shared.served.set(shared.served.get().saturating_add(1));
        shared.used.set(now);
        Some(Place {
            shared,
            endpoint: Rc::clone(endpoint),
            waiters: Rc::clone(&service.waiters),
        })
    }

    /// Whether there would be a place.
    pub(crate) fn has_room(&self, bounds: Bounds) -> bool {
        let connections = self.connections.borrow();
        let mut connections = connections.iter();
        connections.any(|shared| shared.is_open(bounds) && shared.has_room(bounds))
    }

    /// Whether a connection is being made that others may share.
    pub(crate) fn is_making(&self) -> bool {
        self.making.get() && !self.declined.get()
    }

    /// Whether a new connection may turn out to be one of HTTP/2.
    pub(crate) fn may_come(&self) -> bool {
        !self.declined.get()
    }

    /// Has others wait for the connection that is about to be made.
    pub(super) fn make(endpoint: &Rc<LocalEndpoint>, era: u32) -> Making {
        endpoint.multiplex.making.set(true);
        Making {
            endpoint: Rc::clone(endpoint),
            era,
            failed: Some(Failed::Rung(Rung::Time)),
        }
    }

    /// Waits until the connection that is being made is there, or is not to be.
    ///
    /// # Errors
    /// Why it could not be made.
    pub(crate) fn poll_made(&self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        if self.making.get() {
            self.waiting.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(match &*self.failed.borrow() {
            None => Ok(()),
            Some(Failed::Io(kind, why)) => Err(io::Error::new(*kind, why.clone()).into()),
            Some(Failed::Rung(rung)) => Err(ConnectError::Rung(*rung)),
        })
    }

    /// Lets no new requests on those that there are; what goes on finishes.
    pub(crate) fn clear(&self) {
        self.declined.set(false);
        drop(self.connections.take());
    }

    /// The same from now on.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.clear();
    }

    /// Lets go of one that carries nothing; whether there was one. It closes a moment later.
    pub(crate) fn close_one(&self) -> bool {
        let mut connections = self.connections.borrow_mut();
        let idle = connections.iter().position(|s| s.streams.get() == 0);
        let closed = idle.map(|at| connections.swap_remove(at));
        drop(connections);
        closed.is_some()
    }

    /// Lets go of what has not been used since before that time.
    pub(crate) fn expire(&self, before: u64) {
        let in_use = |shared: &Rc<Shared>| shared.streams.get() > 0 || shared.used.get() >= before;
        self.connections.borrow_mut().retain(in_use);
    }
}

impl Shared {
    /// Whether new streams may ever be opened on it: neither worn, nor told to go away, nor broken.
    fn is_open(&self, bounds: Bounds) -> bool {
        let worn = bounds.max_requests > 0 && self.served.get() >= bounds.max_requests;
        let mut nobody = Context::from_waker(Waker::noop());
        let ready = self.requests.borrow_mut().poll_ready(&mut nobody);
        !worn && !self.leaves.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    fn has_room(&self, bounds: Bounds) -> bool {
        let theirs = self.requests.borrow().current_max_send_streams();
        let ours = match bounds.max_streams {
            0 => usize::MAX,
            most => most as usize,
        };
        (self.streams.get() as usize) < theirs.min(ours)
    }
}

/// A connection that is being made, for as long as it is.
pub(super) struct Making {
    endpoint: Rc<LocalEndpoint>,
    /// By which settings of the service.
    era: u32,
    /// What those who wait are told.
    failed: Option<Failed>,
}

impl Making {
    /// It is made. One by settings that hold no more is let go: who waited has another made.
    pub(super) fn done(mut self, (requests, streams): (SendRequest<Bytes>, Streams), now: u64) {
        let multiplex = &self.endpoint.multiplex;
        if !multiplex.closed.get() && self.endpoint.era.get() == self.era {
            multiplex.connections.borrow_mut().push(Rc::new(Shared {
                requests: RefCell::new(requests),
                streams,
                served: Cell::new(0),
                used: Cell::new(now),
                leaves: Cell::new(false),
            }));
        }
        self.failed = None;
    }

    /// The endpoint, asked by ALPN, chose another protocol, and its connections are nobody else's.
    pub(super) fn declined(mut self) {
        if self.endpoint.era.get() == self.era {
            self.endpoint.multiplex.declined.set(true);
        }
        self.failed = None;
    }

    pub(super) fn failed(mut self, error: ConnectError) {
        self.failed = Some(match error {
            ConnectError::Io(error) => Failed::Io(error.kind(), error.to_string()),
            ConnectError::Rung(rung) => Failed::Rung(rung),
        });
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let multiplex = &self.endpoint.multiplex;
        multiplex.making.set(false);
        *multiplex.failed.borrow_mut() = self.failed.take();
        for waker in multiplex.waiting.take() {
            waker.wake();
        }
    }
}

impl Place {
    pub(crate) fn endpoint(&self) -> &Rc<LocalEndpoint> {
        &self.endpoint
    }

    /// To send the request with.
    pub(crate) fn requests(&self) -> SendRequest<Bytes> {
        self.shared.requests.borrow().clone()
    }

    /// Whether the connection has carried another request.
    pub(crate) fn is_reused(&self) -> bool {
        self.shared.served.get() > 1
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.streams.set(self.shared.streams.get() - 1);
        match self.waiters.turn() {
            Turn::Nobody => {}
            Turn::Own => self.waiters.call_own(),
            // To be closed is the only way in which its room can become another worker's.
            Turn::Other => self.shared.leaves.set(true),
        }
    }
}

/// What tells whether a connection's endpoint is still there.
pub(super) struct Alive {
    pub(super) pulse: Rc<Pulse>,
    pub(super) streams: Streams,
    pub(super) timers: Rc<Timers>,
}

/// Drives a connection until it closes, or nobody is there any more, which ends its place among the open ones.
pub(super) fn drive(connection: h2::client::Connection<Io, Bytes>, open: Open, alive: Alive) {
    tokio::task::spawn_local(async move {
        let _open = open;
        if let Err(error) = run(connection, alive).await {
            tracing::debug!(%error, "a connection of HTTP/2 to an endpoint ended");
        }
    });
}

async fn run(
    mut connection: h2::client::Connection<Io, Bytes>,
    alive: Alive,
) -> Result<(), h2::Error> {
    let Alive {
        pulse,
        streams,
        timers,
    } = alive;
    let alarm = timers.alarm_of_stream();
    let mut pings = connection.ping_pong();
    let mut beat = Heartbeat::new(timers.now());
    alarm.set(timers.now() + LOOK_MS);
    loop {
        let polled = alarm.watch(|cx| {
            if let Some(pings) = &mut pings
                && let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
            {
                beat.answered();
            }
            Pin::new(&mut connection).poll(cx)
        });
        if let Ok(ended) = polled.await {
            return ended;
        }
        let seen = Seen {
            is_used: streams.get() > 0,
            sign: pulse.take_sign(),
            answer: pulse.take_answer(),
        };
        match (beat.look(timers.now(), seen), &mut pings) {
            (Todo::Ask, Some(pings)) => {
                // One that is under way already is as good.
                let _ = pings.send_ping(Ping::opaque());
            }
            (Todo::GiveUp, _) => pulse.lose(),
            _ => {}
        }
        alarm.set(timers.now() + LOOK_MS);
    }
}
