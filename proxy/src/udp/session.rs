//! One client's session: its endpoint, its socket, and what comes back on it.

use crate::moment::Moment;
use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::net::UdpSocket;

use super::drop::Dropped;
use super::listen::{PER_TURN, Relay};
use crate::listener::counted::Counted;
use crate::snapshot::{LabelId, ListenerId};
use crate::stream::Entry;
use crate::stream::authorize::Who;
use crate::stream::place::{Judge, Place};
use crate::stream::standing::Standing;
use crate::telemetry::Flag;
use crate::timer::{AlarmGuard, Rung};
use crate::upstream::local::LocalEndpoint;
use crate::upstream::permit::InFlight;
use crate::upstream::pool::Open;
use crate::worker::Worker;

/// How long a session may be silent while the process leaves: nobody ends a session, so silence has to do.
const DRAIN_IDLE_MS: u64 = 1000;

/// A client's session.
pub(super) struct Session {
    client: SocketAddr,
    upstream: UdpSocket,
    endpoint: Rc<LocalEndpoint>,
    label: LabelId,
    alarm: AlarmGuard,
    idle_ms: u64,
    /// When something last moved, on the worker's clock.
    last: Cell<u64>,
    sent: Cell<u64>,
    received: Cell<u64>,
    /// The endpoint's machine said that nobody listens there.
    refused: Cell<bool>,
    ended: Cell<bool>,
    /// An answer has come, which says that the endpoint is well.
    answered: Cell<bool>,
    judge: Judge,
    standing: Standing,
    opened: Moment,
    _in_flight: InFlight,
    _open: Open,
    _counted: Counted,
}

/// What became of a datagram for the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// There is no room for it now.
    Full,
    /// Nobody listens there.
    Refused,
}

impl Session {
    /// A socket of its own to the endpoint, so that what comes back can be told apart.
    ///
    /// # Errors
    /// No descriptor or no port is left.
    pub(super) fn open(
        worker: &Rc<Worker>,
        who: Who,
        place: Place,
        judge: Judge,
        (listener, label, idle): (ListenerId, LabelId, Duration),
    ) -> io::Result<Self> {
        let Place {
            endpoint,
            in_flight,
            open,
        } = place;
        let address = endpoint.state.address;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        // Only the endpoint can answer on a connected socket.
        socket.connect(address)?;
        let alarm = worker.timers.alarm();
        alarm.set_idle(true);
        alarm.set_endpoint(Some(Rc::clone(&endpoint)));
        Ok(Self {
            client: who.source,
            standing: Standing::new(worker, listener, who, &alarm),
            upstream: UdpSocket::from_std(socket)?,
            endpoint,
            label,
            alarm,
            idle_ms: idle.as_millis() as u64,
            last: Cell::new(worker.timers.now()),
            sent: Cell::new(0),
            received: Cell::new(0),
            refused: Cell::new(false),
            ended: Cell::new(false),
            answered: Cell::new(false),
            judge,
            opened: Moment::now(),
            _in_flight: in_flight,
            _open: open,
            _counted: Counted::new(worker, label),
        })
    }

    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    pub(super) fn endpoint(&self) -> &Rc<LocalEndpoint> {
        &self.endpoint
    }

    /// Whether the next datagram may go to its endpoint. One that was removed, or takes nothing now, gets no more.
    pub(super) fn is_usable(&self) -> bool {
        !self.ended.get()
            && !self.refused.get()
            && self.endpoint.cut_at.get() == u64::MAX
            && self.endpoint.state.is_available()
    }

    /// Takes up again where nobody better was found; `false` if it is over.
    pub(super) fn goes_on(&self) -> bool {
        self.refused.set(false);
        !self.ended.get() && self.endpoint.cut_at.get() == u64::MAX
    }

    /// Sends a datagram of the client. Asked of the kernel itself: the driver has not heard yet that a new socket has
    /// room, and there is always room but in a flood.
    pub(super) fn send(&self, datagram: &[u8], worker: &Worker) -> Sent {
        match rustix::net::send(&self.upstream, datagram, SendFlags::empty()) {
            Ok(_) => {
                self.received
                    .set(self.received.get() + datagram.len() as u64);
                self.last.set(worker.timers.now());
                Sent::Yes
            }
            Err(Errno::CONNREFUSED) => {
                self.refuse(worker);
                Sent::Refused
            }
            Err(_) => Sent::Full,
        }
    }

    fn refuse(&self, worker: &Worker) {
        self.refused.set(true);
        self.answered.set(false);
        self.judge.refused_datagram(worker, &self.endpoint);
    }

    /// Passes one answer on; `false` if there is none now.
    ///
    /// # Errors
    /// Why it was dropped.
    fn receive(&self, relay: &Relay) -> Result<bool, Dropped> {
        let mut scratch = relay.scratch.borrow_mut();
        let len = match self.upstream.try_recv(&mut scratch) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    self.refuse(&relay.worker);
                }
                return Ok(true);
            }
        };
        self.last.set(relay.worker.timers.now());
        if !self.answered.replace(true) {
            let took = self.opened.elapsed();
            self.judge.succeeded(&relay.worker, &self.endpoint, took);
        }
        let answer = scratch.get(..len).unwrap_or_default();
        rustix::net::sendto(&relay.socket, answer, SendFlags::empty(), &self.client)
            .map_err(|_| Dropped::Client)?;
        self.sent.set(self.sent.get() + len as u64);
        Ok(true)
    }

    /// Whether it is over, now that its alarm rang; else the alarm is set anew.
    fn is_over(&self, worker: &Worker) -> bool {
        let idle_ms = match worker.is_draining() {
            true => self.idle_ms.min(DRAIN_IDLE_MS),
            false => self.idle_ms,
        };
        let until = self.last.get().saturating_add(idle_ms);
        if self.ended.get() || until <= worker.timers.now() {
            return true;
        }
        // A drain has been heard of.
        self.alarm.set_idle(!worker.is_draining());
        self.alarm.set(until);
        false
    }

    /// Ends the session at the worker's next tick.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.alarm.set(0);
    }
}

/// Passes answers on until nothing has moved for long enough, or the endpoint's time is over.
pub(super) async fn run(relay: Rc<Relay>, session: Rc<Session>, mut entry: Entry) {
    let worker = &relay.worker;
    session.alarm.set(session.last.get() + session.idle_ms);
    loop {
        let ready = session
            .alarm
            .watch(|cx| session.upstream.poll_recv_ready(cx))
            .await;
        match ready {
            Ok(Ok(())) => {
                pass_answers(&relay, &session);
                tokio::task::yield_now().await;
            }
            Ok(Err(_)) | Err(Rung::Removed) => break,
            Err(Rung::Forbidden) => {
                entry.flag = Flag::AZ;
                entry.policy = session.standing.refused_by();
                break;
            }
            Err(Rung::Time | Rung::Drain) if session.is_over(worker) => break,
            Err(Rung::Time | Rung::Drain) => {}
        }
    }
    relay.forget(&session);
    entry.bytes_in = session.received.get();
    entry.bytes_out = session.sent.get();
    if session.refused.get() && entry.flag == Flag::None {
        entry.flag = Flag::UC;
    }
    entry.finish(worker, session.client);
}

fn pass_answers(relay: &Relay, session: &Session) {
    for _ in 0..PER_TURN {
        match session.receive(relay) {
            Ok(true) => {}
            Ok(false) => break,
            Err(dropped) => {
                let metrics = &relay.worker.metrics;
                metrics.datagram_dropped(session.label, dropped.reason());
            }
        }
    }
}
