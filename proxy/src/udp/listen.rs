//! The listener's side: datagrams of clients, each to its session.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use tokio::net::UdpSocket;

use super::drop::Dropped;
use super::session::{self, Sent, Session};
use crate::listener::stop::{Ending, Serving, Stop};
use crate::snapshot::{LabelId, ListenerId, ListenerTable};
use crate::stream::authorize::{self, Who};
use crate::stream::place::{self, Judge, NoPlace};
use crate::stream::{self, Entry, NoWay};
use crate::telemetry::Spoken;
use crate::upstream::local::Local;
use crate::upstream::pick::NoChoice;
use crate::worker::Worker;

/// Datagrams taken in one turn before others on the worker get theirs.
pub(super) const PER_TURN: usize = 32;

/// One worker's socket of a UDP listener, with its sessions.
pub(super) struct Relay {
    pub(super) worker: Rc<Worker>,
    listener: ListenerId,
    pub(super) socket: UdpSocket,
    sessions: RefCell<FxHashMap<SocketAddr, Rc<Session>>>,
    /// One datagram on its way, in either direction: it is never held across a wait.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

/// The largest datagram there is, and one byte to see that another is larger.
const SCRATCH: usize = 65_536;

/// Starts to serve.
///
/// # Errors
/// The runtime cannot watch the socket: no descriptors are left.
pub(crate) fn start(
    worker: &Rc<Worker>,
    id: ListenerId,
    socket: std::net::UdpSocket,
) -> io::Result<Serving> {
    let relay = Rc::new(Relay {
        worker: Rc::clone(worker),
        listener: id,
        socket: UdpSocket::from_std(socket)?,
        sessions: RefCell::default(),
        scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
    });
    let (serving, stop) = Serving::new(id);
    tokio::task::spawn_local(run(relay, stop));
    Ok(serving)
}

async fn run(relay: Rc<Relay>, stop: Rc<Stop>) {
    while stop.asked() != Some(Ending::Close) {
        tokio::select! {
            ready = relay.socket.readable() => if ready.is_err() {
                break;
            },
            () = stop.notified() => continue,
        }
        let takes_new = stop.asked().is_none();
        for _ in 0..PER_TURN {
            if !relay.receive(takes_new) {
                break;
            }
        }
        // Without this a flood on one listener would hold up everything else of the worker.
        tokio::task::yield_now().await;
    }
    for session in relay.sessions.borrow().values() {
        session.end();
    }
}

impl Relay {
    /// Passes one datagram on; `false` if there is none.
    fn receive(self: &Rc<Self>, takes_new: bool) -> bool {
        let mut scratch = self.scratch.borrow_mut();
        let (len, client) = match self.socket.try_recv_from(&mut scratch) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // What a client's machine said of an earlier answer, such as that nobody listens there.
            Err(_) => return true,
        };
        let datagram = &scratch[..len];
        if let Err((label, dropped)) = self.pass(datagram, client, takes_new) {
            self.worker
                .metrics
                .datagram_dropped(label, dropped.reason());
        }
        true
    }

    fn pass(
        self: &Rc<Self>,
        datagram: &[u8],
        client: SocketAddr,
        takes_new: bool,
    ) -> Result<(), (LabelId, Dropped)> {
        let local = self.worker.local();
        let Some(table) = local.snapshot.listener(self.listener) else {
            return Err((LabelId::default(), Dropped::NoRoute));
        };
        let limits = &table.listener.udp;
        let because = |dropped| (table.label, dropped);
        if datagram.len() > limits.max_packet {
            return Err(because(Dropped::TooLong));
        }
        let known = self.sessions.borrow().get(&client).cloned();
        if let Some(session) = known.as_ref().filter(|s| s.is_usable()) {
            match session.send(datagram, &self.worker) {
                Sent::Yes => return Ok(()),
                Sent::Full => return Err(because(Dropped::Endpoint)),
                // It was a word of an earlier datagram: this one has not left yet.
                Sent::Refused => {}
            }
        }
        let full = self.sessions.borrow().len() >= limits.max_sessions && known.is_none();
        let no_room = self.worker.timers.len() >= self.worker.max_connections;
        if full || no_room || (known.is_none() && !takes_new) {
            return Err(because(Dropped::Sessions));
        }
        let session = self
            .session(&local, table, client, known)
            .map_err(because)?;
        match session.send(datagram, &self.worker) {
            Sent::Yes => Ok(()),
            Sent::Full | Sent::Refused => Err(because(Dropped::Endpoint)),
        }
    }

    /// Begins a session. One whose endpoint takes no more is put in its place; with nobody better it goes on.
    fn session(
        self: &Rc<Self>,
        local: &Local,
        table: &ListenerTable,
        client: SocketAddr,
        old: Option<Rc<Session>>,
    ) -> Result<Rc<Session>, Dropped> {
        let worker = &self.worker;
        let mut entry = Entry::new(Spoken::Udp, table.listener.name.clone(), table.label);
        let who = Who {
            source: client,
            tls: None,
            server_name: None,
        };
        if !authorize::admits(worker, table, &who, &mut entry) {
            old.inspect(|old| old.end());
            return Err(Dropped::Forbidden);
        }
        let choice = stream::choose(local, self.listener, table, &mut entry);
        let choice = choice.map_err(|no| match no {
            NoWay::Route | NoWay::Choice(NoChoice::NoBackend) => Dropped::NoRoute,
            NoWay::Choice(NoChoice::NoEndpoint) => Dropped::NoEndpoint,
        })?;
        let tried: Vec<_> = old.iter().map(|old| Rc::clone(old.endpoint())).collect();
        let endpoint = place::pick(worker, &choice, &tried, client.ip()).map_err(no_place)?;
        if let Some(old) = old {
            if Rc::ptr_eq(old.endpoint(), &endpoint) && old.goes_on() {
                return Ok(old);
            }
            old.end();
        }
        let place = place::take(worker, &choice.service, &endpoint).map_err(no_place)?;
        entry.attempts = 1;
        entry.endpoint = Some(endpoint);
        let listener = (self.listener, table.label, table.listener.udp.idle_timeout);
        let session = Session::open(worker, who, place, Judge::of(&choice), listener)
            .map_err(|_| Dropped::Sessions)?;
        let session = Rc::new(session);
        self.sessions
            .borrow_mut()
            .insert(client, Rc::clone(&session));
        tokio::task::spawn_local(session::run(Rc::clone(self), Rc::clone(&session), entry));
        Ok(session)
    }

    /// Takes a session out that has ended, unless another has its place.
    pub(super) fn forget(&self, session: &Rc<Session>) {
        let mut sessions = self.sessions.borrow_mut();
        let client = session.client();
        if sessions
            .get(&client)
            .is_some_and(|s| Rc::ptr_eq(s, session))
        {
            sessions.remove(&client);
        }
        if sessions.is_empty() {
            sessions.shrink_to_fit();
        }
    }
}

fn no_place(no: NoPlace) -> Dropped {
    match no {
        NoPlace::NoEndpoint => Dropped::NoEndpoint,
        NoPlace::Overloaded => Dropped::Overloaded,
    }
}
