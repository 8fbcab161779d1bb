//! A client's connection: one request after another, in order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use weir_config::model::{Limits, Listener};

use super::flow::poll_fill;
use super::head::{HeadError, Parsed, RequestHead, ResponseHead, parse_request};
use crate::buffer::{Buffer, LARGE};
use crate::http::error::ProxyError;
use crate::http::forward::{self, After};
use crate::http::{linger, refuse};
use crate::listener::counted::Counted;
use crate::listener::receive::{self, ReceiveError};
use crate::snapshot::ListenerId;
use crate::timer::{Alarm, AlarmGuard, Rung};
use crate::worker::Worker;

/// A client's connection.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: ListenerId,
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) alarm: AlarmGuard,
    /// Read and not yet used; starts with the head while a request is served.
    pub(crate) buffer: Buffer,
    /// The lines that tell an endpoint of this peer.
    pub(crate) forwarded: Vec<u8>,
    pub(crate) peer_text: String,
    /// Whether the peer may name its client; settled anew for each request.
    pub(crate) trusted: bool,
    /// How long the next request is waited for, by the listener as it was last looked at.
    patience_ms: u64,
}

/// What one request needs, reused by the next of any connection.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) head: RequestHead,
    pub(crate) response: ResponseHead,
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
}

/// Why no request was read.
enum NoRequest {
    /// The client closed, or was idle for too long, between requests.
    Gone,
    Refused(ProxyError),
}

/// Serves a connection to its end.
pub(crate) async fn connection(
    worker: Rc<Worker>,
    listener: ListenerId,
    stream: TcpStream,
    peer: SocketAddr,
) {
    worker.begins();
    let local = worker.local();
    let Some(table) = local.snapshot.listener(listener) else {
        return;
    };
    let label = table.label;
    let patience_ms = table.listener.limits.head_timeout.as_millis() as u64;
    let proxied = (table.listener.proxy_protocol.as_ref()).map(|_| Arc::clone(&table.listener));
    // It lives as long as the connection does, and the generation should not.
    drop(local);
    let _counted = Counted::new(&worker, label);
    let alarm = worker.timers.alarm();
    let mut buffer = worker.buffers.none();
    let (mut stream, mut peer) = (stream, peer);
    if let Some(listener) = proxied {
        match named(&worker, &mut stream, &alarm, &mut buffer, peer, &listener).await {
            Ok(source) => peer = source,
            Err(error) => {
                tracing::debug!(%error, %peer, "a connection is not taken");
                return worker.metrics.malformed(400);
            }
        }
    }
    let peer_text = peer.ip().to_canonical().to_string();
    let forwarded = format!(
        "X-Forwarded-For: {peer_text}\r\nX-Real-IP: {peer_text}\r\nX-Forwarded-Proto: http\r\n"
    )
    .into_bytes();
    let mut connection = Connection {
        worker,
        listener,
        stream,
        peer,
        alarm,
        buffer,
        forwarded,
        peer_text,
        trusted: false,
        patience_ms,
    };
    connection.run().await;
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
    async fn run(&mut self) {
        let mut first = true;
        loop {
            if !self.wait_for_bytes(first).await {
                return;
            }
            first = false;
            let mut scratch = self.worker.scratch.borrow_mut().pop().unwrap_or_default();
            let after = self.request(&mut scratch).await;
            self.worker.scratch.borrow_mut().push(scratch);
            match after {
                After::Next if self.worker.is_draining() => return linger::close(self).await,
                After::Next => {}
                After::Close => return,
                After::Linger => return linger::close(self).await,
            }
        }
    }

    /// Waits, without a buffer, for the first byte of a request; `false` when there will be none.
    async fn wait_for_bytes(&mut self, first: bool) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        self.alarm.set(self.worker.timers.now() + self.patience_ms);
        self.buffer = self.worker.buffers.none();
        // A connection that has not asked yet may be about to: a drain ends it only between requests.
        self.alarm.set_idle(!first);
        let ready = self.alarm.watch(|cx| self.stream.poll_read_ready(cx)).await;
        self.alarm.set_idle(false);
        matches!(ready, Ok(Ok(())))
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
