//! An origin that records every byte and answers as a test tells it to.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;

use crate::ports;
use crate::tls::{self, Channel, Session};
use crate::wait::eventually;
use crate::wire::{Body, Head, Tape, Wire};

/// What an origin does after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Keep,
    Close,
    /// Ends the connection with a reset.
    Reset,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counts the connections of the origin from 0.
    pub connection: usize,
    pub head: Head,
    /// `None` until the script has read it whole.
    pub body: Option<Body>,
    /// What TLS agreed on; `None` in clear.
    pub session: Option<Session>,
}

impl Seen {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// The request target.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The body, of a request that arrived whole.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.body.as_ref().expect("the body arrived whole").data
    }
}

type Script = dyn Fn(&mut Exchange<'_>) -> io::Result<After> + Send + Sync;

/// One request in progress, in the hands of a script.
pub struct Exchange<'a> {
    pub head: Head,
    pub wire: &'a mut Wire,
    /// Counts the requests on this connection from 0.
    pub index: usize,
    /// Counts the connections of the origin from 0.
    pub connection: usize,
    shared: &'a Shared,
    record: usize,
}

impl Exchange<'_> {
    /// Reads the request's body, and records it.
    ///
    /// # Errors
    /// When its framing is not exact.
    pub fn body(&mut self) -> io::Result<Body> {
        let body = match self.head.chunked() {
            true => self.wire.chunked()?,
            false => Body {
                data: self.wire.exactly(self.head.length()?.unwrap_or(0))?,
                ..Body::default()
            },
        };
        if let Some(seen) = self.shared.seen().get_mut(self.record) {
            seen.body = Some(body.clone());
        }
        Ok(body)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As the socket gives them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes)
    }

    /// A whole answer with a Content-Length; for HEAD without its body.
    ///
    /// # Errors
    /// As the socket gives them.
    pub fn reply(&mut self, status: u16, fields: &str, body: &str) -> io::Result<After> {
        let shown = if self.head.word(0) == "HEAD" {
            ""
        } else {
            body
        };
        self.send(format!(
            "HTTP/1.1 {status} Some Reason\r\nContent-Length: {}\r\n{fields}\r\n{shown}",
            body.len()
        ))?;
        Ok(After::Keep)
    }
}

struct Shared {
    script: Box<Script>,
    tls: Option<Arc<ServerConfig>>,
    seen: Mutex<Vec<Seen>>,
    tapes: Mutex<Vec<Tape>>,
    /// By number of the connection, while it is open.
    sockets: Mutex<HashMap<usize, TcpStream>>,
    open: AtomicUsize,
    stopped: AtomicBool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on a port of loopback, until it is dropped.
pub struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    /// An origin under a script, called once the head of a request has come.
    #[must_use]
    pub fn start(
        script: impl Fn(&mut Exchange<'_>) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(ports::free(), script)
    }

    /// As [`Origin::start`], over TLS.
    #[must_use]
    pub fn start_tls(
        tls: Arc<ServerConfig>,
        script: impl Fn(&mut Exchange<'_>) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        Self::launch(ports::free(), Some(tls), Box::new(script))
    }

    /// As [`Origin::start`], on an address of the test's choice.
    ///
    /// # Panics
    /// When the address cannot be bound.
    #[must_use]
    pub fn start_at(
        addr: SocketAddr,
        script: impl Fn(&mut Exchange<'_>) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        Self::launch(addr, None, Box::new(script))
    }

    fn launch(addr: SocketAddr, tls: Option<Arc<ServerConfig>>, script: Box<Script>) -> Self {
        let listener = eventually("a free port for an origin", || TcpListener::bind(addr).ok());
        let shared = Arc::new(Shared {
            script,
            tls,
            seen: Mutex::default(),
            tapes: Mutex::default(),
            sockets: Mutex::default(),
            open: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { addr, shared }
    }

    /// Answers every request with 200, a body of `OK` and its name in `x-origin`.
    #[must_use]
    pub fn ok(name: &str) -> Self {
        let field = format!("x-origin: {name}\r\n");
        Self::start(move |exchange| {
            exchange.body()?;
            exchange.reply(200, &field, "OK")
        })
    }

    /// As [`Origin::ok`], after that time.
    #[must_use]
    pub fn slow(name: &str, wait: std::time::Duration) -> Self {
        Self::slow_at(ports::free(), name, wait)
    }

    /// As [`Origin::slow`], on an address of the test's choice.
    ///
    /// # Panics
    /// When the address cannot be bound.
    #[must_use]
    pub fn slow_at(addr: SocketAddr, name: &str, wait: std::time::Duration) -> Self {
        Self::answering_at(addr, name, move |_| (200, wait))
    }

    /// Answers each request with the status, and after the time, that the script gives for it; with its name in `x-origin`.
    #[must_use]
    pub fn answering(
        name: &str,
        script: impl Fn(&Head) -> (u16, std::time::Duration) + Send + Sync + 'static,
    ) -> Self {
        Self::answering_at(ports::free(), name, script)
    }

    fn answering_at(
        addr: SocketAddr,
        name: &str,
        script: impl Fn(&Head) -> (u16, std::time::Duration) + Send + Sync + 'static,
    ) -> Self {
        let field = format!("x-origin: {name}\r\n");
        Self::start_at(addr, move |exchange| {
            exchange.body()?;
            let (status, wait) = script(&exchange.head);
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            exchange.reply(status, &field, "OK")
        })
    }

    /// Answers the first request of each connection with these bytes, whatever they are, and closes.
    #[must_use]
    pub fn raw(answer: impl Into<Vec<u8>>, after: After) -> Self {
        let answer = answer.into();
        Self::start(move |exchange| {
            exchange.body()?;
            exchange.send(&answer)?;
            Ok(after)
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests so far, in the order in which their heads came.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }

    /// The number of requests so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.seen().len()
    }

    /// The one request so far.
    ///
    /// # Panics
    /// When there is none or more than one.
    #[must_use]
    pub fn only(&self) -> Seen {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests at the origin: {requests:#?}");
        requests.remove(0)
    }

    /// Waits until that many requests came.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} requests at the origin"), || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }

    /// Everything that arrived, one entry a connection, in order of their opening.
    #[must_use]
    pub fn tapes(&self) -> Vec<Vec<u8>> {
        let tapes = self
            .shared
            .tapes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tapes
            .iter()
            .map(|tape| tape.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.tapes().len()
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.shared.seen().clear();
        for tape in self
            .shared
            .tapes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            tape.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Closes every open connection, and goes on accepting.
    pub fn hang_up(&self) {
        for socket in self.shared.sockets().values() {
            // One that is gone already is what is wanted.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; a refusal means that it is gone.
        let _ = TcpStream::connect(self.addr);
        self.hang_up();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let tape = Tape::default();
        let connection = {
            let mut tapes = shared.tapes.lock().unwrap_or_else(PoisonError::into_inner);
            tapes.push(Arc::clone(&tape));
            tapes.len() - 1
        };
        if let Ok(copy) = stream.try_clone() {
            shared.sockets().insert(connection, copy);
        }
        let shared = Arc::clone(shared);
        shared.open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let wire = open(stream, &shared)
                .map(|channel| serve(Wire::over(channel, Some(tape)), connection, &shared));
            shared.sockets().remove(&connection);
            drop(wire);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// The connection as the script speaks on it. A handshake that fails is no request.
fn open(stream: TcpStream, shared: &Shared) -> io::Result<Channel> {
    match &shared.tls {
        Some(config) => tls::accept(stream, config),
        None => Ok(Channel::Plain(stream)),
    }
}

/// Serves one connection until either side ends it; an error ends it too, the tape keeps what came.
fn serve(mut wire: Wire, connection: usize, shared: &Shared) -> Wire {
    wire.patience = std::time::Duration::from_secs(120);
    for index in 0.. {
        let Ok(Some(head)) = wire.head() else { break };
        let record = {
            let mut seen = shared.seen();
            seen.push(Seen {
                connection,
                head: head.clone(),
                body: None,
                session: wire.session(),
            });
            seen.len() - 1
        };
        let mut exchange = Exchange {
            head,
            wire: &mut wire,
            index,
            connection,
            shared,
            record,
        };
        match (shared.script)(&mut exchange) {
            Ok(After::Keep) => {}
            Ok(After::Reset) => {
                wire.reset_on_close();
                break;
            }
            Ok(After::Close) | Err(_) => break,
        }
    }
    wire
}
