//! A client's connection: one request after another, in order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use weir_config::model::{Limits, Listener, Protocol};

use super::flow::poll_fill;
use super::head::{HeadError, Parsed, RequestHead, ResponseHead, parse_request};
use crate::buffer::{Buffer, LARGE, SHED};
use crate::http::client::Client;
use crate::http::error::ProxyError;
use crate::http::forward::{self, After, Behind};
use crate::http::h2::exchange::Exchange;
use crate::http::h2::watch::Watch;
use crate::http::{h2, linger, refuse};
use crate::listener::counted::Counted;
use crate::listener::receive::{self, ReceiveError};
use crate::snapshot::ListenerId;
use crate::socket::{Socket, Source as _};
use crate::timer::{Alarm, AlarmGuard, Rung};
use crate::tls::{self, Alpn, Incoming, Welcome};
use crate::worker::Worker;

/// A client's connection, or in its place one stream of it, on which one request is served.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: ListenerId,
    pub(crate) stream: Socket,
    pub(crate) client: Rc<Client>,
    pub(crate) alarm: AlarmGuard,
    /// Read and not yet used; starts with the head while a request is served.
    pub(crate) buffer: Buffer,
    /// Whether the peer may name its client; settled anew for each request.
    pub(crate) trusted: bool,
    /// Of the connection that a stream is on.
    pub(crate) watch: Option<Rc<Watch>>,
    /// How long the next request is waited for, by the listener as it was last looked at.
    patience_ms: u64,
}

/// What one request needs, reused by the next of any connection.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) head: RequestHead,
    pub(crate) response: ResponseHead,
    /// What is known of the answer beyond it.
    pub(in crate::http) behind: Behind,
    /// The head for the endpoint.
    pub(crate) out: Vec<u8>,
    /// The head for the client.
    pub(crate) front: Vec<u8>,
    /// The path in its canonical form.
    pub(crate) path: String,
    /// Where one that is not canonical yet is rewritten.
    pub(crate) path_buffer: Vec<u8>,
    pub(crate) rewritten: String,
    pub(crate) host: String,
    pub(crate) set_cookie: Vec<u8>,
    /// Lines that a request's head gets, and then that of its answer.
    pub(crate) extra: Vec<u8>,
}

impl Scratch {
    /// Lets the memory of a large head for the endpoint go, which nobody wants any more.
    pub(crate) fn shed_out(&mut self) {
        if self.out.capacity() > SHED {
            self.out = Vec::new();
        }
    }
}

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why no request was read.
enum NoRequest {
    /// The client closed, or was idle for too long, between requests.
    Gone,
    Refused(ProxyError),
}

/// Serves a connection to its end.
///
/// What this future holds is what an idle connection takes, so everything here that is not on the way of a request is
/// behind a call, and what is large and seldom is on the heap.
pub(crate) async fn connection(
    worker: Rc<Worker>,
    listener: ListenerId,
    stream: TcpStream,
    peer: SocketAddr,
    alarm: AlarmGuard,
) {
    let Some((mut connection, _counted)) =
        Connection::begin(worker, listener, stream, peer, alarm).await
    else {
        return;
    };
    if connection.run().await == Spoken::H2 {
        Box::pin(h2::serve::connection(connection)).await;
    }
}

/// What goes on over a connection.
#[derive(PartialEq, Eq)]
enum Spoken {
    /// Nothing any more: all of it was HTTP/1.
    H1,
    /// The preface of HTTP/2 is in the buffer, or it was agreed on.
    H2,
}

/// The peer, or in its place whom a PROXY header names.
async fn named(
    worker: &Worker,
    stream: &mut TcpStream,
    alarm: &Alarm,
    buffer: &mut Buffer,
    peer: SocketAddr,
    listener: &Listener,
) -> Result<SocketAddr, ReceiveError> {
    let Some(settings) = &listener.proxy_protocol else {
        return Ok(peer);
    };
    // Of a peer that may send none, one is malformed as a request, too.
    let said = receive::header(
        worker,
        stream,
        alarm,
        buffer,
        peer,
        settings,
        &listener.limits,
    );
    let addresses = said.await?.addresses;
    Ok(addresses.map_or(peer, |addresses| addresses.source))
}

impl Connection {
    /// One stream of a connection, for its one request.
    pub(in crate::http) fn of_stream(
        worker: Rc<Worker>,
        listener: ListenerId,
        exchange: Exchange,
        client: Rc<Client>,
        watch: Rc<Watch>,
    ) -> Self {
        Self {
            alarm: worker.timers.alarm_of_stream(),
            buffer: worker.buffers.small(),
            worker,
            listener,
            stream: Socket::H2(Box::new(exchange)),
            client,
            trusted: false,
            watch: Some(watch),
            patience_ms: 0,
        }
    }

    /// Begins: whom a PROXY header names, and TLS. `None` where that fails.
    async fn begin(
        worker: Rc<Worker>,
        listener: ListenerId,
        mut stream: TcpStream,
        mut peer: SocketAddr,
        alarm: AlarmGuard,
    ) -> Option<(Self, Counted)> {
        let local = worker.local();
        let table = local.snapshot.listener(listener)?;
        let label = table.label;
        let limits = &table.listener.limits;
        let patience_ms = limits.head_timeout.as_millis() as u64;
        let is_https = table.listener.protocol == Protocol::Https;
        let (tls, timeout) = (table.tls.clone(), limits.handshake_timeout);
        let proxied = (table.listener.proxy_protocol.as_ref()).map(|_| Arc::clone(&table.listener));
        // It lives as long as the connection does, and the generation should not.
        drop(local);
        let counted = Counted::new(&worker, label);
        let mut buffer = worker.buffers.none();
        if let Some(listener) = proxied {
            match named(&worker, &mut stream, &alarm, &mut buffer, peer, &listener).await {
                Ok(source) => peer = source,
                Err(error) => {
                    tracing::debug!(%error, %peer, "a connection is not taken");
                    worker.metrics.malformed(400);
                    return None;
                }
            }
        }
        let mut shaken = None;
        let stream = match tls {
            Some(tls) => {
                let incoming = Incoming {
                    worker: &worker,
                    listener: label,
                    peer,
                    alarm: &alarm,
                    timeout,
                };
                let first = std::mem::replace(&mut buffer, worker.buffers.none());
                match tls::accept(incoming, stream, first, &tls).await? {
                    Welcome::Secured(stream) => {
                        shaken = Some(Arc::clone(stream.info()));
                        Socket::tls(stream)
                    }
                    Welcome::Plain(stream, first) => {
                        buffer = first;
                        Socket::Plain(stream)
                    }
                }
            }
            // Plain text is no answer to TLS.
            None if is_https => return None,
            None => Socket::Plain(stream),
        };
        let client = Client::new(peer, shaken, &worker);
        let connection = Self {
            worker,
            listener,
            stream,
            client,
            alarm,
            buffer,
            trusted: false,
            watch: None,
            patience_ms,
        };
        Some((connection, counted))
    }

    /// Serves one request after the other, unless they turn out to be of HTTP/2.
    async fn run(&mut self) -> Spoken {
        let mut first = true;
        loop {
            if !self.wait_for_bytes(first).await {
                return Spoken::H1;
            }
            if first && self.speaks_h2().await {
                return Spoken::H2;
            }
            first = false;
            let mut scratch = self.worker.scratch.borrow_mut().pop().unwrap_or_default();
            let after = self.request(&mut scratch).await;
            self.worker.scratch.borrow_mut().push(scratch);
            match after {
                After::Next if !self.worker.is_draining() => {}
                After::Next | After::Linger => {
                    linger::close(self).await;
                    return Spoken::H1;
                }
                After::Close => return Spoken::H1,
            }
        }
    }

    /// Whether the client is told to come back on another connection.
    pub(in crate::http) fn says_goodbye(&self) -> bool {
        self.worker.says_goodbye() || self.worker.timers.now() >= self.client.until
    }

    /// Waits, without a buffer, for the first byte of a request; `false` when there will be none.
    async fn wait_for_bytes(&mut self, first: bool) -> bool {
        let now = self.worker.timers.now();
        if now >= self.client.until {
            return false;
        }
        if !self.buffer.is_empty() {
            return true;
        }
        self.alarm
            .set((now + self.patience_ms).min(self.client.until));
        self.buffer = self.worker.buffers.none();
        // A connection that has not asked yet may be about to: a drain ends it only between requests.
        self.alarm.set_idle(!first);
        let (mut from, _) = self.stream.split();
        let ready = self.alarm.watch(|cx| from.poll_ready(cx)).await;
        self.alarm.set_idle(false);
        matches!(ready, Ok(Ok(())))
    }

    /// Whether the client begins with the preface of HTTP/2 (RFC 9113, section 3.4), which is in the buffer then. A method
    /// that begins like it is read on, for as long as there is a doubt.
    async fn speaks_h2(&mut self) -> bool {
        if let Socket::Tls(stream) = &self.stream
            && stream.borrow().info().alpn != Alpn::None
        {
            return stream.borrow().info().alpn == Alpn::H2;
        }
        if self.buffer.is_empty() {
            self.buffer = self.worker.buffers.small();
        } else if !PREFACE.starts_with(&self.buffer[..1]) {
            return false;
        }
        if !self.takes_h2() {
            return false;
        }
        self.alarm.set(self.worker.timers.now() + self.patience_ms);
        loop {
            let seen = self.buffer.len().min(PREFACE.len());
            if self.buffer[..seen] != PREFACE[..seen] {
                return false;
            }
            if seen == PREFACE.len() {
                return true;
            }
            let (mut from, _) = self.stream.split();
            let buffer = &mut self.buffer;
            let filled = self.alarm.watch(|cx| poll_fill(cx, &mut from, buffer));
            if !matches!(filled.await, Ok(Ok(read)) if read > 0) {
                return false;
            }
        }
    }

    fn takes_h2(&self) -> bool {
        let local = self.worker.local();
        let table = local.snapshot.listener(self.listener);
        table.is_some_and(|table| table.listener.http2.enabled)
    }

    async fn request(&mut self, scratch: &mut Scratch) -> After {
        let local = self.worker.local();
        let Some(table) = local.snapshot.listener(self.listener) else {
            return After::Linger;
        };
        self.patience_ms = table.listener.limits.idle_timeout.as_millis() as u64;
        match self.read_head(&table.listener, &mut scratch.head).await {
            Ok(()) => forward::exchange(self, &local, scratch).await,
            Err(NoRequest::Gone) => After::Close,
            Err(NoRequest::Refused(error)) => refuse::head(self, &local, scratch, &error).await,
        }
    }

    async fn read_head(
        &mut self,
        listener: &Listener,
        head: &mut RequestHead,
    ) -> Result<(), NoRequest> {
        let limits = &listener.limits;
        let mut attempt = Attempt::default();
        if self.buffer.capacity() == 0 {
            self.buffer = self.worker.buffers.small();
        }
        let timers = &self.worker.timers;
        let deadline = timers.now() + limits.head_timeout.as_millis() as u64;
        loop {
            match attempt.parse(&mut self.buffer, limits, head) {
                Ok(Parsed::Complete(_)) => return Ok(()),
                Ok(Parsed::Partial) => {}
                Err(error) => return Err(NoRequest::Refused(error.into())),
            }
            if self.buffer.len() == self.buffer.capacity() {
                if self.buffer.capacity() >= LARGE {
                    return Err(NoRequest::Refused(HeadError::FieldsTooLarge.into()));
                }
                self.buffer.grow();
            }
            self.alarm.set(deadline);
            let (mut from, _) = self.stream.split();
            let buffer = &mut self.buffer;
            match self
                .alarm
                .watch(|cx| poll_fill(cx, &mut from, buffer))
                .await
            {
                Ok(Ok(0) | Err(_)) => return Err(NoRequest::Gone),
                Ok(Ok(_)) => {}
                Err(Rung::Time) if !self.buffer.is_empty() => {
                    return Err(NoRequest::Refused(ProxyError::HeadTimeout));
                }
                Err(_) => return Err(NoRequest::Gone),
            }
        }
    }
}

/// Parses a head that arrives in pieces without starting over for every byte.
#[derive(Default)]
struct Attempt {
    /// Bytes there were at the last try.
    last: usize,
    /// Empty lines skipped before the request line.
    skipped: u8,
}

/// RFC 9112, section 2.2, asks a server to ignore at least one empty line before a request.
const MAX_EMPTY_LINES: u8 = 2;

impl Attempt {
    fn parse(
        &mut self,
        buffer: &mut Buffer,
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<Parsed, HeadError> {
        while self.skipped < MAX_EMPTY_LINES && buffer.starts_with(b"\r\n") {
            buffer.consume(2);
            self.skipped += 1;
        }
        let bytes = buffer.filled();
        if bytes.is_empty() || bytes == b"\r" {
            return Ok(Parsed::Partial);
        }
        if self.last > 0 && bytes.len() < self.last * 2 {
            let new = bytes.get(self.last.saturating_sub(3)..).unwrap_or_default();
            let ends =
                memchr::memmem::find(new, b"\n\r\n").or_else(|| memchr::memmem::find(new, b"\n\n"));
            if ends.is_none() {
                return Ok(Parsed::Partial);
            }
        }
        self.last = bytes.len();
        parse_request(bytes, limits, head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a function's future, without one being made.
    fn size_of_future<A, B, C, D, E, F>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_holds_less_than_three_kib() {
        let future = size_of_future(connection);
        // What the runtime adds makes a block of 3 KiB, the next larger one is of 3.5.
        assert!(future <= 2900, "{future} bytes");
    }
}
