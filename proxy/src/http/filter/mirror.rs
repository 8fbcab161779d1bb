//! Mirroring: a copy of a request goes to another service, and its answer is thrown away (Gateway API,
//! `HTTPRequestMirrorFilter`).
//!
//! The copy runs as a task of its own, with its own buffers and time, beside the request it was made of, which never
//! waits for it. What would cost requests something is left out instead, and counted: a copy beyond
//! [`MAX_IN_FLIGHT`], or beyond half of a limit of its service; a body beyond 64 KiB. A request that changes to another protocol is not copied, for its
//! conversation has no end to wait for.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use weir_config::model::{Limits, Timeouts};
use weir_decide::fault::hits;

use crate::buffer::{Buffer, BufferPool, LARGE};
use crate::http::h1::body::Decoder;
use crate::http::h1::flow::{Flow, poll_fill};
use crate::http::h1::head::{Framing, Method, Parsed, RequestHead, ResponseHead, parse_response};
use crate::http::h1::tap::{Copied, MAX_COPY};
use crate::http::h2::exchange::{Exchange, Receiver};
use crate::http::h2::head::request_of;
use crate::snapshot::{Leaf, MirrorTable};
use crate::socket::{ReadHalf, Source as _, WriteHalf};
use crate::upstream::connect::{self, ConnectError, Made};
use crate::upstream::local::{Local, LocalEndpoint, LocalService};
use crate::upstream::multiplex::{self, Multiplex};
use crate::upstream::permit::{InFlight, Permit};
use crate::upstream::pick::{self, Asked, Choice};
use crate::upstream::pool::{Lease, Open, Pool};
use crate::worker::{Random, Worker};

/// Copies that one worker has under way.
const MAX_IN_FLIGHT: usize = 64;
/// Longest that a copy takes, whatever the request may.
const MAX_TIME: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read; after more than that the connection is closed: 1 MiB.
const MAX_ANSWER: usize = 1 << 20;
/// Interim answers before the final one.
const MAX_INTERIM: u8 = 16;

/// The request as its own endpoint gets it.
pub(crate) struct Original<'a> {
    pub(crate) head: &'a RequestHead,
    /// The head in writing.
    pub(crate) text: &'a [u8],
    pub(crate) timeouts: &'a Timeouts,
}

/// One copy on its way.
struct Copy {
    /// Counted among those under way for as long as it lives.
    place: Place,
    choice: Choice,
    method: Method,
    head: Vec<u8>,
    body: Option<Rc<Vec<u8>>>,
    chunked: bool,
    time: Duration,
}

/// Copies the request for each of the rule's mirrors that it falls to.
pub(crate) fn start(
    worker: &Rc<Worker>,
    local: &Local,
    mirrors: &[MirrorTable],
    original: &Original<'_>,
    upload: &mut Flow,
) {
    if original.head.upgrade.is_some() {
        return;
    }
    for mirror in mirrors {
        if !hits(mirror.percent, &mut *worker.random.borrow_mut()) {
            continue;
        }
        let framing = original.head.framing;
        if matches!(framing, Framing::Length(length) if length > MAX_COPY as u64) {
            worker.metrics.mirrored("too-large");
            continue;
        }
        let Some(place) = Place::take(worker) else {
            worker.metrics.mirrored("dropped");
            continue;
        };
        let choice = choose(local, &mirror.leaves, &mut worker.random.borrow_mut());
        let Some(choice) = choice else {
            worker.metrics.mirrored("failed");
            continue;
        };
        let copy = Copy {
            place,
            choice,
            method: original.head.kind,
            head: original.text.to_vec(),
            body: None,
            chunked: framing == Framing::Chunked,
            time: original
                .timeouts
                .request
                .map_or(MAX_TIME, |t| t.min(MAX_TIME)),
        };
        let body = match framing {
            Framing::None | Framing::Length(0) => None,
            _ => Some(upload.tap().subscribe()),
        };
        tokio::task::spawn_local(copy.run(body));
    }
}

/// A version with an endpoint that takes requests, by weight. Nothing is kept of whose turn it is: over many requests
/// chance does as well, and nobody waits for a copy.
fn choose(local: &Local, leaves: &[Leaf], random: &mut Random) -> Option<Choice> {
    let able = |leaf: &Leaf| {
        let choice = Choice {
            service: Rc::clone(local.services.get(leaf.service?)?),
            version: leaf.version?,
        };
        pick::has_available(&choice).then_some(choice)
    };
    let total: u64 = leaves
        .iter()
        .filter(|leaf| able(leaf).is_some())
        .map(|leaf| u64::from(leaf.weight.tenths()))
        .sum();
    let mut at = (total > 0).then(|| random.random_range(0..total))?;
    for leaf in leaves {
        let Some(choice) = able(leaf) else { continue };
        match at.checked_sub(u64::from(leaf.weight.tenths())) {
            Some(rest) => at = rest,
            None => return Some(choice),
        }
    }
    None
}

/// Why a copy came to nothing.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// A copy takes no place of the service that a request may want.
    #[error("the service has no room for copies")]
    NoRoom,
    #[error("no endpoint can take it")]
    NoEndpoint,
    #[error("it took too long")]
    Late(#[from] Elapsed),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Connect(#[from] ConnectError),
}

impl Lost {
    fn result(&self) -> &'static str {
        match self {
            Self::NoRoom => "dropped",
            Self::NoEndpoint | Self::Late(_) | Self::Io(_) | Self::Connect(_) => "failed",
        }
    }
}

impl Copy {
    async fn run(mut self, body: Option<oneshot::Receiver<Copied>>) {
        let metrics = |result| self.place.0.metrics.mirrored(result);
        match body {
            None => {}
            Some(coming) => match coming.await {
                Ok(Copied::Whole(data)) => self.body = Some(data),
                Ok(Copied::TooLarge) => return metrics("too-large"),
                // The request was cut short: there is nothing to copy.
                Err(_) => return,
            },
        }
        let worker = Rc::clone(&self.place.0);
        let ended = timeout(self.time, self.exchange(&worker)).await;
        match ended.unwrap_or_else(|late| Err(late.into())) {
            Ok(()) => worker.metrics.mirrored("sent"),
            Err(lost) => {
                tracing::debug!(%lost, "a copy of a request came to nothing");
                worker.metrics.mirrored(lost.result());
            }
        }
    }

    /// Sends the copy and reads the answer. What comes of it is not held against the endpoint: that a request fails the
    /// second time must not take away who answers it the first.
    async fn exchange(&self, worker: &Rc<Worker>) -> Result<(), Lost> {
        let service = &self.choice.service;
        let pool = &service.table.service.pool;
        let _active = room(service).ok_or(Lost::NoRoom)?;
        let asked = Asked {
            tried: &[],
            key: None,
            now_ms: worker.timers.now(),
        };
        let endpoint = pick::endpoint(&self.choice, &asked, &mut worker.random.borrow_mut());
        let endpoint = endpoint.ok_or(Lost::NoEndpoint)?;
        let in_flight = InFlight::begin(&endpoint, pool.max_requests_per_endpoint);
        let _in_flight = in_flight.ok_or(Lost::NoRoom)?;
        let mut lease = match self.ready(worker, &endpoint) {
            Some(ready) => ready?,
            None => self.open(worker, &endpoint).await?,
        };
        let (mut from, mut to) = lease.stream.split();
        // Both at once: an endpoint may answer before it has read everything.
        let (_, reusable) = tokio::try_join!(
            self.send(&mut to),
            read_answer(&mut from, self.method, &worker.buffers)
        )?;
        if reusable {
            worker.give_back(lease, pool);
        }
        Ok(())
    }
}

/// A place among the service's active requests. Copies give way: half of each limit is left to requests, and who
/// waits for a connection gets the next one.
fn room(service: &Rc<LocalService>) -> Option<Permit> {
    let breakers = &service.table.state.breakers;
    let half = service.table.service.pool.max_requests.div_ceil(2);
    let is_free = service.waiters.is_empty() && breakers.requests.taken() < half;
    is_free.then(|| Permit::request(service).ok()).flatten()
}

impl Copy {
    /// A connection, or a stream on one, that is there already.
    fn ready(&self, worker: &Worker, endpoint: &Rc<LocalEndpoint>) -> Option<Result<Lease, Lost>> {
        let service = &self.choice.service;
        if service.table.may_share()
            && let Some(place) = Multiplex::take(endpoint, service, worker.timers.now())
        {
            return Some(self.begin(place));
        }
        Pool::take(endpoint).map(Ok)
    }

    async fn open(&self, worker: &Rc<Worker>, endpoint: &Rc<LocalEndpoint>) -> Result<Lease, Lost> {
        let service = &self.choice.service;
        let pool = &service.table.service.pool;
        let half = pool.max_connections.div_ceil(2);
        let is_free = service.table.state.breakers.connections.taken() < half;
        let room = || {
            let open = is_free.then(|| Open::take(endpoint, service, &worker.upstream_open));
            open.flatten().ok_or(Lost::NoRoom)
        };
        let alarm = worker.timers.alarm_of_stream();
        alarm.set(worker.timers.now() + pool.connect_timeout.as_millis() as u64);
        if service.table.may_share() && endpoint.multiplex.may_come() {
            if !endpoint.multiplex.is_making() {
                connect::start(worker, service, endpoint, room()?);
            }
            let made = alarm.watch(|cx| endpoint.multiplex.poll_made(cx));
            made.await.map_err(ConnectError::Rung)??;
            return self.ready(worker, endpoint).unwrap_or(Err(Lost::NoRoom));
        }
        match connect::open(worker, service, endpoint, room()?, &alarm).await? {
            Made::Whole(socket, open) => Ok(Lease::new(socket, endpoint, open)),
            Made::Shared(..) => Err(Lost::NoRoom),
        }
    }

    fn begin(&self, place: multiplex::Place) -> Result<Lease, Lost> {
        let secure = self.choice.service.table.service.tls.is_some();
        let request = request_of(&self.head, secure, false, false).ok_or(Lost::NoRoom)?;
        let ended = self.body.as_ref().is_none_or(|body| body.is_empty());
        let sent = place.requests().send_request(request, ended);
        let (answer, body) = sent.map_err(io::Error::other)?;
        let exchange = Exchange::of_endpoint(answer, body, ended);
        Ok(Lease::of_stream(exchange, place))
    }

    /// Sends what was not sent with the stream's beginning.
    async fn send(&self, to: &mut WriteHalf<'_>) -> io::Result<()> {
        let body = self.body.as_ref().map_or(&[][..], |body| body.as_slice());
        let in_frames = matches!(to, WriteHalf::H2(_));
        let mut text = Vec::new();
        if !in_frames {
            text.clone_from(&self.head);
            if self.body.is_some() {
                push_body(&mut text, body, self.chunked);
            }
        }
        let mut rest = if in_frames { body } else { &text };
        while !rest.is_empty() {
            let parts = [IoSlice::new(rest)];
            let written = poll_fn(|cx| to.poll_write_vectored(cx, &parts, true)).await?;
            rest = &rest[written..];
        }
        poll_fn(|cx| to.poll_flush(cx)).await?;
        to.end(b"")
    }
}

/// Writes a body behind its head, framed as the head says. Trailers are not copied.
fn push_body(out: &mut Vec<u8>, data: &[u8], chunked: bool) {
    if !chunked {
        return out.extend_from_slice(data);
    }
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Reads an answer and throws it away; whether the connection can be used again.
async fn read_answer(
    from: &mut ReadHalf<'_>,
    method: Method,
    buffers: &Rc<BufferPool>,
) -> io::Result<bool> {
    if let ReadHalf::H2(receiver) = from {
        return read_frames(receiver, buffers).await;
    }
    // It takes its time, and needs no buffer until it comes.
    poll_fn(|cx| from.poll_ready(cx)).await?;
    let mut buffer = buffers.small();
    let head = read_head(from, method, &mut buffer).await?;
    buffer.consume(head.len);
    let mut decoder = Decoder::new(head.framing);
    let mut read = 0;
    loop {
        let decoded = decoder
            .decode(buffer.filled_mut())
            .map_err(io::Error::other)?;
        buffer.consume(decoded.consumed);
        read += decoded.consumed;
        if decoder.is_done() {
            return Ok(head.keep_alive && buffer.is_empty());
        }
        if read > MAX_ANSWER {
            return Ok(false);
        }
        let more = decoded.consumed == 0 || buffer.is_empty();
        if more && fill(from, &mut buffer).await? == 0 {
            return match decoder.end_of_input(false) {
                true => Ok(false),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// The same of an answer in frames, whose connection others use meanwhile.
async fn read_frames(receiver: &mut Receiver, buffers: &Rc<BufferPool>) -> io::Result<bool> {
    let mut interim = 0;
    loop {
        let head = poll_fn(|cx| receiver.poll_head(cx)).await;
        if !head.map_err(io::Error::other)?.status().is_informational() {
            break;
        }
        interim += 1;
        if interim > MAX_INTERIM {
            return Err(io::Error::other("it never answers"));
        }
    }
    let mut buffer = buffers.small();
    let mut read = 0;
    let mut from = ReadHalf::H2(receiver);
    loop {
        match fill(&mut from, &mut buffer).await? {
            0 => return Ok(true),
            more => read += more,
        }
        buffer.consume(usize::MAX);
        if read > MAX_ANSWER {
            return Ok(true);
        }
    }
}

/// Reads up to the final head, which stays at the front of the buffer.
async fn read_head(
    from: &mut ReadHalf<'_>,
    method: Method,
    buffer: &mut Buffer,
) -> io::Result<ResponseHead> {
    let limits = Limits::default();
    let mut head = ResponseHead::default();
    let mut interim = 0;
    loop {
        match parse_response(buffer, &limits, method, &mut head).map_err(io::Error::other)? {
            Parsed::Complete(_) if head.is_interim() && interim < MAX_INTERIM => {
                interim += 1;
                buffer.consume(head.len);
            }
            Parsed::Complete(_) if head.is_interim() || head.status == 101 => {
                return Err(io::Error::other("it never answers"));
            }
            Parsed::Complete(_) => return Ok(head),
            Parsed::Partial => {
                if buffer.len() == buffer.capacity() && buffer.capacity() < LARGE {
                    buffer.grow();
                }
                if fill(from, buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

async fn fill(from: &mut ReadHalf<'_>, buffer: &mut Buffer) -> io::Result<usize> {
    poll_fn(|cx| poll_fill(cx, from, buffer)).await
}

/// One of the [`MAX_IN_FLIGHT`] of a worker.
struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let under_way = worker.mirrors.get();
        (under_way < MAX_IN_FLIGHT).then(|| {
            worker.mirrors.set(under_way + 1);
            Self(Rc::clone(worker))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_body_is_framed_as_its_head_says() {
        for (data, chunked, want) in [
            (&b"hello"[..], false, &b"hello"[..]),
            (b"hello", true, b"5\r\nhello\r\n0\r\n\r\n"),
            (b"", true, b"0\r\n\r\n"),
        ] {
            let mut out = Vec::new();
            push_body(&mut out, data, chunked);
            assert_eq!(out, want);
        }
    }
}
