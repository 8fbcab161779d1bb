//! A client's connection of HTTP/2: its streams are served side by side, each as one request.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, request};
use rand::RngExt;
use weir_config::model::{Http2, Limits};

use super::caught::caught;
use super::exchange::Exchange;
use super::head::read_request;
use super::io::Io;
use super::residents::Seat;
use super::watch::{Broken, PROVOKED, Watch};
use super::websocket;
use crate::buffer::SMALL;
use crate::http::client::Client;
use crate::http::forward::{self, After};
use crate::http::h1::head::{Framing, HeadError, Method};
use crate::http::h1::serve::{Connection, Scratch};
use crate::http::refuse;
use crate::http::stall::STALL_MS;
use crate::snapshot::ListenerId;
use crate::socket::Source as _;
use crate::timer::{Alarm, Rung};
use crate::worker::Worker;

/// What is queued for one stream and not written yet.
const SEND_BUFFER: usize = 32 * 1024;
/// What the frames of few bytes may cost that came and that nobody has taken yet: 256 each, some twenty thousand of them.
/// A call that streams messages of a few bytes fills its window with thousands.
const SMALL_FRAMES: usize = 6 * 1024 * 1024;
/// Streams reset by us that are remembered, so that what was on its way is not taken for an error.
const REMEMBERED: usize = 64;
/// Streams that a client reset before we looked at them.
const UNSEEN: usize = 20;
/// Streams of one connection that are begun before others get their turn. Each may have a connection made to an endpoint, and a
/// hundred that come at once would hold up everybody else on the worker for as long as that takes.
const STREAMS_PER_TURN: usize = 16;
/// Heads of more than a small buffer that the streams of one connection hold at once, in bytes. Each is held twice, for its
/// endpoint and for another try, and a few bytes refer to all of it (RFC 7541, section 7.3).
const LARGE_HEADS: usize = 2 * 1024 * 1024;
/// Milliseconds for the last frames to leave.
const LAST_WORDS_MS: u64 = 1000;

/// What the streams of a connection share.
struct Shared {
    worker: Rc<Worker>,
    listener: ListenerId,
    client: Rc<Client>,
    watch: Rc<Watch>,
    alarm: Rc<Alarm>,
    streams: Cell<usize>,
    /// Bytes of large heads that they hold.
    heads: Cell<usize>,
    /// On the worker's clock: when the last stream ended.
    quiet_since: Cell<u64>,
    idle_ms: Cell<u64>,
    /// For a head to arrive whole.
    head_ms: u64,
    /// Many clients come by way of it: what one of them does is not laid to all.
    is_proxy: bool,
}

type Wire = h2::server::Connection<Io, Bytes>;

/// Serves a connection that begins with the preface to its end.
pub(in crate::http) async fn connection(conn: Connection) {
    let local = conn.worker.local();
    let Some(table) = local.snapshot.listener(conn.listener) else {
        return;
    };
    let settings = table.listener.http2.clone();
    let limits = table.listener.limits.clone();
    let is_proxy = (table.listener.trusted_hops).trusts(conn.client.peer.ip());
    drop(local);
    let Connection {
        worker,
        listener,
        stream,
        client,
        alarm,
        buffer,
        ..
    } = conn;
    let watch = Watch::new(&worker.timers, settings.max_concurrent_streams);
    let early = (!buffer.is_empty()).then_some(buffer);
    let io = Io::of_client(stream, early, Rc::clone(&watch));
    alarm.set(worker.timers.now() + limits.head_timeout.as_millis() as u64);
    let streams = worker.offenders.streams(
        client.peer.ip(),
        worker.timers.now(),
        settings.max_concurrent_streams,
    );
    let mut handshake = pin!(builder(&settings, &limits, streams).handshake(io));
    let shaken = alarm.watch(|cx| handshake.as_mut().poll(cx)).await;
    let wire: Wire = match shaken {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => {
            tracing::debug!(%error, peer = %client.peer, "a connection of HTTP/2 did not begin");
            return worker.metrics.malformed(400);
        }
        Err(_) => return,
    };
    let now = worker.timers.now();
    let shared = Rc::new(Shared {
        alarm: alarm.share(),
        worker,
        listener,
        client,
        watch,
        streams: Cell::new(0),
        heads: Cell::new(0),
        quiet_since: Cell::new(now),
        idle_ms: Cell::new(limits.idle_timeout.as_millis() as u64),
        head_ms: limits.head_timeout.as_millis() as u64,
        is_proxy,
    });
    let life = Life::new(&shared, &settings);
    Driver { wire, shared, life }.run().await;
}

/// `streams`: how many of them may be open at once.
fn builder(settings: &Http2, limits: &Limits, streams: u32) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_header_list_size(limits.max_header_bytes as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .max_concurrent_reset_streams(REMEMBERED)
        .max_pending_accept_reset_streams(UNSEEN)
        .max_local_error_reset_streams(Some(PROVOKED as usize))
        .reset_stream_duration(Duration::from_secs(1))
        .enable_connect_protocol();
    builder
}

/// How long a connection may live.
struct Life {
    /// On the worker's clock; no new streams after it.
    until: u64,
    grace_ms: u64,
    /// The same for what its client showed, but for the grace: streams that are open may take as long as they want.
    good_until: u64,
}

impl Life {
    fn new(shared: &Shared, settings: &Http2) -> Self {
        let until = settings.max_age.map_or(u64::MAX, |age| {
            // Connections made together do not all end together.
            let part = shared.worker.random.borrow_mut().random_range(0.9..=1.1);
            shared.worker.timers.now() + (age.as_millis() as f64 * part) as u64
        });
        Self {
            until,
            good_until: shared.client.until,
            grace_ms: settings.max_age_grace.as_millis() as u64,
        }
    }

    /// On the worker's clock: when the connection is to be looked at, whatever happens on it.
    fn next_look(&self, shared: &Shared) -> u64 {
        let now = shared.worker.timers.now();
        let end = match now < self.until {
            true => self.until,
            false => self.until.saturating_add(self.grace_ms),
        };
        let idle_ms = shared.idle_ms.get();
        let quiet = match shared.streams.get() {
            0 => shared.quiet_since.get() + idle_ms,
            _ => now + idle_ms,
        };
        let head = shared
            .watch
            .head_since()
            .map(|since| since + shared.head_ms);
        let stall = shared
            .watch
            .stall()
            .map(|stall| stall.next_look().max(now + 1));
        let soon = head.into_iter().chain(stall).min().unwrap_or(u64::MAX);
        let good = Some(self.good_until).filter(|until| now < *until);
        let end = end.min(good.unwrap_or(u64::MAX));
        end.min(quiet.max(now + 1)).min(soon)
    }
}

struct Driver {
    wire: Wire,
    shared: Rc<Shared>,
    life: Life,
}

impl Driver {
    async fn run(mut self) {
        let shared = Rc::clone(&self.shared);
        let mut leaving = false;
        let (mut head, mut clogged) = (None, false);
        let mut begun = 0;
        // A drain is told at once, whatever goes on.
        shared.alarm.set_idle(true);
        shared.alarm.set(self.life.next_look(&shared));
        loop {
            let (wire, watch, alarm) = (&mut self.wire, &shared.watch, &shared.alarm);
            let life = &self.life;
            let next = shared.alarm.watch(|cx| {
                let next = wire.poll_accept(cx);
                if next.is_pending() {
                    begun = 0;
                }
                if let Some(broken) = watch.broken() {
                    return Poll::Ready(Err(broken));
                }
                // Once for each head and stall: to set an alarm is to take back that it has rung.
                let begins = watch.head_since().is_some() && watch.head_since() != head;
                let clogs = watch.stall().is_some() && !clogged;
                (head, clogged) = (watch.head_since(), watch.stall().is_some());
                if begins || clogs {
                    alarm.set(life.next_look(&shared));
                }
                // Started here: a request is some hundred bytes, and each hand that it goes through copies them.
                let begin = |(request, respond)| start(&shared, request, respond);
                next.map(|stream| Ok(stream.map(|stream| stream.map(begin))))
            });
            match next.await {
                Ok(Ok(Some(Ok(())))) => {
                    begun += 1;
                    if begun == STREAMS_PER_TURN {
                        begun = 0;
                        tokio::task::yield_now().await;
                    }
                    if !leaving && shared.worker.says_goodbye() {
                        leaving = self.leave();
                    }
                }
                Ok(Ok(Some(Err(error)))) => {
                    tracing::debug!(%error, peer = %shared.client.peer, "a connection of HTTP/2 broke");
                    if !error.is_remote() {
                        self.remember(error.reason());
                    }
                    return;
                }
                Ok(Ok(None)) => return,
                Ok(Err(broken)) => return self.send_away(broken).await,
                Err(Rung::Drain) => {
                    shared.alarm.set_idle(false);
                    leaving = leaving || self.leave();
                    shared.alarm.set(self.life.next_look(&shared));
                }
                Err(Rung::Time) if self.head_is_late() => shared.watch.head_is_late(),
                Err(Rung::Time) if self.is_unread() => return self.give_up(),
                Err(_) if self.is_over() => return self.last_words().await,
                Err(_) => {
                    let now = shared.worker.timers.now();
                    if !leaving && (now >= self.life.until || self.is_quiet()) {
                        leaving = self.leave();
                        self.life.until = now;
                    } else if !leaving && now >= self.life.good_until {
                        leaving = self.leave();
                    }
                    shared.alarm.set(self.life.next_look(&shared));
                }
            }
        }
    }

    async fn send_away(mut self, broken: Broken) {
        let shared = &self.shared;
        tracing::debug!(?broken, peer = %shared.client.peer, "a client of HTTP/2 is sent away");
        shared.worker.metrics.abused(broken.what);
        self.remember(Some(broken.reason));
        self.wire.abrupt_shutdown(broken.reason);
        self.last_words().await;
    }

    /// Its client is treated with care for a while, if it was sent away for what it costs.
    fn remember(&self, reason: Option<Reason>) {
        let shared = &self.shared;
        if reason == Some(Reason::ENHANCE_YOUR_CALM) && !shared.is_proxy {
            let (peer, now) = (shared.client.peer.ip(), shared.worker.timers.now());
            shared.worker.offenders.note(peer, now);
        }
    }

    /// Its client has read nothing for too long, while there was something for it.
    fn is_unread(&self) -> bool {
        let now = self.shared.worker.timers.now();
        let stall = self.shared.watch.stall();
        stall.is_some_and(|stall| stall.is_over(now, STALL_MS))
    }

    /// Nobody could be told why: the connection ends with its streams, and what they hold of endpoints is free.
    fn give_up(self) {
        let shared = &self.shared;
        tracing::debug!(peer = %shared.client.peer, "a client of HTTP/2 that does not read is given up");
        shared.worker.metrics.abused("unread");
        shared.watch.cut_off();
    }

    /// A head has begun and not ended in time.
    fn head_is_late(&self) -> bool {
        let now = self.shared.worker.timers.now();
        let since = self.shared.watch.head_since();
        since.is_some_and(|since| now >= since + self.shared.head_ms)
    }

    /// Says that no new streams are taken; those that go on finish (RFC 9113, section 6.8).
    fn leave(&mut self) -> bool {
        self.wire.graceful_shutdown();
        true
    }

    /// Nothing has been going on for the idle timeout.
    fn is_quiet(&self) -> bool {
        let shared = &self.shared;
        shared.streams.get() == 0
            && shared.worker.timers.now() >= shared.quiet_since.get() + shared.idle_ms.get()
    }

    /// The grace after the connection's life has passed, too.
    fn is_over(&self) -> bool {
        self.shared.worker.timers.now() >= self.life.until.saturating_add(self.life.grace_ms)
    }

    async fn last_words(mut self) {
        let alarm = &self.shared.alarm;
        alarm.set(self.shared.worker.timers.now() + LAST_WORDS_MS);
        let wire = &mut self.wire;
        drop(alarm.watch(|cx| wire.poll_closed(cx)).await);
    }
}

/// A stream that is to be served.
pub(crate) struct Begun {
    counted: Counted,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

/// Serves one stream beside the others.
fn start(shared: &Rc<Shared>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    // What its client has given up while it waited for its turn is asked of nobody.
    if shared.watch.has_reset() && is_reset(&mut respond) {
        return shared.watch.gave_up();
    }
    shared.streams.set(shared.streams.get() + 1);
    // In one place from here on: it is handed on three times.
    let begun = Box::new(Begun {
        counted: Counted {
            shared: Rc::clone(shared),
            head: Cell::new(0),
        },
        request,
        respond,
    });
    if let Some(begun) = shared.worker.residents.give(begun) {
        tokio::task::spawn_local(reside(Seat::with(begun)));
    }
}

/// Serves streams, one after another.
async fn reside(seat: Rc<Seat<Box<Begun>>>) {
    while let Some(begun) = seat.next().await {
        let worker = Rc::clone(&begun.counted.shared.worker);
        stream(begun).await;
        if !worker.residents.take_in(&seat) {
            return;
        }
    }
}

fn is_reset(respond: &mut SendResponse<Bytes>) -> bool {
    let mut unheard = Context::from_waker(Waker::noop());
    respond.poll_reset(&mut unheard).is_ready()
}

/// One of the connection's streams, for as long as it is served.
struct Counted {
    shared: Rc<Shared>,
    /// Bytes of its head, if that is large.
    head: Cell<usize>,
}

impl Counted {
    /// Its head is large; whether it may be held beside those of the others.
    fn holds(&self, head: usize) -> bool {
        self.head.set(head);
        let heads = &self.shared.heads;
        heads.set(heads.get() + head);
        heads.get() <= LARGE_HEADS
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.streams.set(shared.streams.get() - 1);
        shared.heads.set(shared.heads.get() - self.head.get());
        shared.quiet_since.set(shared.worker.timers.now());
        if std::thread::panicking() {
            shared.worker.metrics.panicked();
        }
    }
}

async fn stream(begun: Box<Begun>) {
    let Begun {
        counted,
        request,
        respond,
    } = *begun;
    let shared = &counted.shared;
    let (mut request, body) = request.into_parts();
    let exchange = Exchange::of_client(body, respond);
    let mut conn = Connection::of_stream(
        Rc::clone(&shared.worker),
        shared.listener,
        exchange,
        Rc::clone(&shared.client),
        Rc::clone(&shared.watch),
    );
    let worker = &shared.worker;
    let mut scratch = worker.scratch.borrow_mut().pop().unwrap_or_default();
    let served = {
        let serving = pin!(serve(&mut conn, &counted, &mut request, &mut scratch));
        caught(serving).await
    };
    let Some(after) = served else {
        // What was lent to it is not given to the next.
        worker.metrics.panicked();
        return conn.stream.break_off();
    };
    scratch.shed_out();
    worker.scratch.borrow_mut().push(scratch);
    if after == After::Close {
        if conn.stream.is_unanswered() {
            shared.watch.gave_up();
        }
        conn.stream.break_off();
    }
}

async fn serve(
    conn: &mut Connection,
    counted: &Counted,
    request: &mut request::Parts,
    scratch: &mut Scratch,
) -> After {
    #[cfg(test)]
    tests::find_defect(request);
    let local = conn.worker.local();
    let Some(table) = local.snapshot.listener(conn.listener) else {
        // The listener is gone: nothing was done with the request, and it may be made elsewhere.
        conn.stream.refuse();
        return After::Linger;
    };
    let limits = &table.listener.limits;
    let ended = conn.stream.is_drained();
    let key = || websocket::key(&mut *conn.worker.random.borrow_mut());
    let read = read_request(
        request,
        ended,
        key,
        &mut conn.buffer,
        limits,
        &mut scratch.head,
    );
    // They are text now, and the request may take long.
    request.headers = HeaderMap::new();
    if conn.buffer.capacity() > SMALL && !counted.holds(conn.buffer.fit()) {
        // Nothing was done with it, and it may be made again; but not for ever.
        counted.shared.watch.provoked();
        conn.stream.refuse();
        return After::Linger;
    }
    let checked = match read {
        Ok(()) => settle_body(conn, scratch, limits).await,
        refused => refused,
    };
    match checked {
        Ok(()) => {
            scratch.head.minor = 2;
            forward::exchange(conn, &local, scratch).await
        }
        Err(error) => refuse::head(conn, &local, scratch, &error.into()).await,
    }
}

/// A GET whose stream is left open at first mostly ends with an empty frame; one that has a body is refused as it is over
/// HTTP/1.
async fn settle_body(
    conn: &mut Connection,
    scratch: &mut Scratch,
    limits: &Limits,
) -> Result<(), HeadError> {
    let head = &mut scratch.head;
    let is_bodiless = matches!(head.kind, Method::Get | Method::Head);
    if !is_bodiless || head.framing != Framing::Chunked || limits.get_body {
        return Ok(());
    }
    let deadline = conn.worker.timers.now() + limits.head_timeout.as_millis() as u64;
    conn.alarm.set(deadline);
    let (mut from, _) = conn.stream.split();
    // A failure is found again by who reads on.
    drop(conn.alarm.watch(|cx| from.poll_ready(cx)).await);
    if !from.is_at_end() {
        return Err(HeadError::GetBody);
    }
    head.framing = Framing::None;
    Ok(())
}

#[cfg(test)]
mod tests;
