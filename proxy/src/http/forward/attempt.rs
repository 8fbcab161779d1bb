//! Attempts: one endpoint after another, until one answers or there is nothing left to try.

use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use weir_config::model::{Limits, Listener};
use weir_decide::retry::{Attempt as Try, Outcome, backoff, may_retry};

use super::super::error::ProxyError;
use super::super::filter::rewritten;
use super::super::h1::flow::{Flow, FlowError, poll_fill};
use super::super::h1::head::{Method, Parsed, ResponseHead, parse_response};
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write::{self, RequestParts, Target};
use super::entry::Entry;
use super::send;
use crate::buffer::{Buffer, LARGE};
use crate::snapshot::RuleTable;
use crate::timer::Rung;
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::local::LocalEndpoint;
use crate::upstream::pick::{self, Choice, MAX_TRIED};
use crate::upstream::pool::{InFlight, Lease, Pool};

/// What stays the same over all attempts.
pub(super) struct Call<'a> {
    pub(super) listener: &'a Listener,
    pub(super) rule: &'a RuleTable,
    pub(super) choice: &'a Choice,
    pub(super) prefix_len: usize,
}

/// An endpoint's answer: its head is in the scratch, and at the front of the buffer.
pub(super) struct Answered {
    pub(super) lease: Lease,
    pub(super) buffer: Buffer,
    pub(super) in_flight: InFlight,
}

/// Why an attempt came to nothing.
struct Failure {
    error: ProxyError,
    /// `None`: nothing that another endpoint could do better.
    outcome: Option<Outcome>,
    bytes_sent: bool,
}

impl Failure {
    fn last(error: ProxyError) -> Self {
        Self {
            error,
            outcome: None,
            bytes_sent: true,
        }
    }
}

/// More interim responses than any use has; an endpoint that sends them without end is cut off.
const MAX_INTERIM: u8 = 16;

/// Sends the request until an endpoint answers.
pub(super) async fn until_answered(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    call: &Call<'_>,
) -> Result<Answered, ProxyError> {
    let version = &call.choice.service.versions[call.choice.version];
    write_head(conn, scratch, entry, call);
    let mut tried: Vec<Rc<LocalEndpoint>> = Vec::new();
    loop {
        let endpoint = pick::endpoint(version, &tried, &mut conn.worker.random.borrow_mut());
        let endpoint = endpoint.ok_or(ProxyError::NoEndpoint)?;
        entry.attempts += 1;
        entry.endpoint = Some(Rc::clone(&endpoint));
        let first = if entry.attempts == 1 {
            entry.started
        } else {
            Instant::now()
        };
        conn.alarm.set_endpoint(Some(Rc::clone(&endpoint)));
        let failure = match attempt(conn, scratch, entry, upload, call, &endpoint).await {
            Ok(answered) => {
                entry.upstream = Some(first.elapsed());
                let status = Outcome::Status(scratch.response.status);
                if answered.lease.served < u32::MAX
                    && !judge(call, scratch, entry, upload, status, true)
                {
                    return Ok(answered);
                }
                Failure {
                    error: ProxyError::NoEndpoint,
                    outcome: Some(status),
                    bytes_sent: true,
                }
            }
            Err(failure) => {
                let again = failure
                    .outcome
                    .is_some_and(|o| judge(call, scratch, entry, upload, o, failure.bytes_sent));
                if !again {
                    return Err(failure.error);
                }
                failure
            }
        };
        conn.worker.metrics.retried(reason(failure.outcome));
        entry.upstream = None;
        if tried.len() < MAX_TRIED {
            tried.push(endpoint);
        }
        pause(conn, call, entry.attempts).await;
    }
}

fn judge(
    call: &Call<'_>,
    scratch: &Scratch,
    entry: &Entry<'_>,
    upload: &Flow,
    outcome: Outcome,
    sent: bool,
) -> bool {
    let attempt = Try {
        number: entry.attempts,
        idempotent: scratch.head.kind.is_idempotent(),
        bytes_sent: sent,
        body_sent: upload.has_moved(),
        body_replayable: !upload.has_moved(),
    };
    may_retry(&call.rule.rule().retry, attempt, outcome).is_retry()
}

fn reason(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::ConnectFailure) => "connect-failure",
        Some(Outcome::ResetBeforeResponse { .. }) => "reset-before-request",
        Some(Outcome::Status(_)) => "status",
        Some(Outcome::Timeout) => "timeout",
        Some(Outcome::RefusedStream) => "refused-stream",
        None => "other",
    }
}

/// Waits before the next try; not before the first retry of something that never left, for there is
/// nobody whom waiting would spare.
async fn pause(conn: &Connection, call: &Call<'_>, attempts: u8) {
    let wait = backoff(
        &call.rule.rule().retry,
        attempts,
        &mut conn.worker.random.borrow_mut(),
    );
    tokio::time::sleep(wait).await;
}

/// Writes the head as the endpoint gets it; the same for every attempt.
fn write_head(conn: &Connection, scratch: &mut Scratch, entry: &Entry<'_>, call: &Call<'_>) {
    let bytes = conn.buffer.filled();
    let filters = &call.rule.filters;
    let path = scratch.path.as_str();
    let is_asterisk = scratch.head.target.path.get(bytes) == b"*";
    let rewrite = filters.rewrite.as_ref();
    let path = match rewrite.and_then(|rewrite| rewrite.path.as_ref()) {
        Some(modifier) => {
            rewritten(&mut scratch.rewritten, path, modifier, call.prefix_len);
            &scratch.rewritten
        }
        None if is_asterisk => "*",
        None => path,
    };
    write::request(
        &mut scratch.out,
        &RequestParts {
            head: &scratch.head,
            bytes,
            target: Target {
                path,
                query: scratch.head.target.query.map(|query| query.get(bytes)),
            },
            host: rewrite
                .and_then(|rewrite| rewrite.hostname.as_deref())
                .map(str::as_bytes),
            trusted: conn.trusted,
            forwarded: &conn.forwarded,
            peer: conn.peer_text.as_bytes(),
            request_id: &entry.request_id,
            edits: &filters.request,
            via: call.listener.via,
        },
    );
}

/// When an attempt is over: the request's own deadline, or the try's.
struct Deadlines {
    request: u64,
    attempt: u64,
}

impl Deadlines {
    fn next(&self) -> u64 {
        self.request.min(self.attempt)
    }

    fn new(conn: &Connection, entry: &Entry<'_>, call: &Call<'_>) -> Self {
        let timeouts = &call.rule.rule().timeouts;
        let timers = &conn.worker.timers;
        let request = timeouts
            .request
            .map(|t| entry.started_ms + t.as_millis() as u64);
        let attempt = timeouts
            .backend_request
            .map(|t| timers.now() + t.as_millis() as u64);
        Self {
            request: request.unwrap_or(u64::MAX),
            attempt: attempt.unwrap_or(u64::MAX),
        }
    }

    /// What it means that the alarm rang, while nothing of an answer had come.
    fn failure(&self, conn: &Connection, rung: Rung) -> Failure {
        match rung {
            Rung::Time if conn.worker.timers.now() < self.request => Failure {
                error: ProxyError::Timeout,
                outcome: Some(Outcome::Timeout),
                bytes_sent: true,
            },
            Rung::Time | Rung::Drain => Failure::last(ProxyError::Timeout),
            Rung::Removed => Failure::last(ProxyError::Reset),
        }
    }
}

async fn attempt(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &Entry<'_>,
    upload: &mut Flow,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
) -> Result<Answered, Failure> {
    let deadlines = Deadlines::new(conn, entry, call);
    let in_flight = InFlight::new(endpoint);
    let mut lease = match Pool::take(endpoint) {
        Some(lease) => lease,
        None => open(conn, call, endpoint, &deadlines).await?,
    };
    upload.restart(std::mem::take(&mut scratch.out));
    let got = converse(conn, scratch, upload, call, &mut lease, &deadlines).await;
    // The head is needed again if this try failed; the flow only overwrites it once a body moves.
    if !upload.has_moved() {
        scratch.out = upload.take_front();
    }
    got.map(|buffer| Answered {
        lease,
        buffer,
        in_flight,
    })
}

async fn open(
    conn: &Connection,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    deadlines: &Deadlines,
) -> Result<Lease, Failure> {
    let timeout = call
        .choice
        .service
        .table
        .service
        .pool
        .connect_timeout
        .as_millis() as u64;
    let limit = conn.worker.timers.now() + timeout;
    conn.alarm.set(limit.min(deadlines.next()));
    let failed = |error| Failure {
        error,
        outcome: Some(Outcome::ConnectFailure),
        bytes_sent: false,
    };
    match connect(endpoint.state.address, &conn.alarm).await {
        Ok(stream) => Ok(Lease::new(stream, endpoint, &conn.worker.upstream_open)),
        Err(ConnectError::Io(error)) => Err(failed(ProxyError::Connect(error))),
        Err(ConnectError::Rung(Rung::Time)) if limit <= deadlines.next() => {
            Err(failed(ProxyError::ConnectTimeout))
        }
        Err(ConnectError::Rung(rung)) => Err(deadlines.failure(conn, rung)),
    }
}

/// What happened first while the request went out.
enum Event {
    /// A head, perhaps an interim one.
    Head,
    /// The endpoint closed; `true` if part of an answer had come.
    Closed(bool),
    BadAnswer(&'static str),
    /// The client's body failed.
    Body(ProxyError),
}

/// Sends the request and reads up to the final head; interim ones are passed on.
async fn converse(
    conn: &mut Connection,
    scratch: &mut Scratch,
    upload: &mut Flow,
    call: &Call<'_>,
    lease: &mut Lease,
    deadlines: &Deadlines,
) -> Result<Buffer, Failure> {
    let reused = lease.is_reused();
    let mut buffer = conn.worker.buffers.none();
    for _ in 0..MAX_INTERIM {
        let event = next_head(
            conn,
            &mut scratch.response,
            (scratch.head.kind, scratch.head.expects_continue),
            upload,
            call,
            lease,
            &mut buffer,
            deadlines,
        );
        match event.await.map_err(|rung| deadlines.failure(conn, rung))? {
            Event::Head if scratch.response.is_interim() => {
                pass_interim(conn, scratch, &mut buffer)
                    .await
                    .map_err(Failure::last)?;
            }
            Event::Head => {
                return check_upgrade(scratch)
                    .map(|()| buffer)
                    .map_err(Failure::last);
            }
            Event::Closed(false) => {
                let outcome = Some(Outcome::ResetBeforeResponse { reused });
                return Err(Failure {
                    error: ProxyError::Reset,
                    outcome,
                    bytes_sent: true,
                });
            }
            Event::Closed(true) => return Err(Failure::last(ProxyError::Reset)),
            Event::BadAnswer(why) => return Err(Failure::last(ProxyError::BadAnswer(why))),
            Event::Body(error) => return Err(Failure::last(error)),
        }
    }
    Err(Failure::last(ProxyError::BadAnswer(
        "interim responses without end",
    )))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the two ends and what is between them"
)]
async fn next_head(
    conn: &mut Connection,
    head: &mut ResponseHead,
    (method, expects): (Method, bool),
    upload: &mut Flow,
    call: &Call<'_>,
    lease: &mut Lease,
    buffer: &mut Buffer,
    deadlines: &Deadlines,
) -> Result<Event, Rung> {
    let (mut client_read, _) = conn.stream.split();
    let (mut origin_read, mut origin_write) = lease.stream.split();
    let (alarm, timers, pool) = (&conn.alarm, &conn.worker.timers, &conn.worker.buffers);
    let limits = &call.listener.limits;
    let idle = limits.stream_idle_timeout.as_millis() as u64;
    let mut progress = Progress {
        moved: u64::MAX,
        done: false,
        on_client: false,
    };
    // What came with the last interim head may hold the next one already.
    if let Some(event) = parse(buffer, limits, method, head) {
        return Ok(event);
    }
    let waited = alarm
        .watch(|cx| {
            if !progress.done {
                match upload.poll(cx, &mut client_read, &mut origin_write) {
                    Poll::Ready(Ok(())) => {
                        progress.done = true;
                        alarm.set(deadlines.after_upload(timers.now(), call, upload));
                    }
                    // The endpoint reads no further; it may still say why.
                    Poll::Ready(Err(FlowError::Write(_))) => progress.done = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Body(of_client(&error))),
                    Poll::Pending if progress.moved != upload.moved => {
                        progress.moved = upload.moved;
                        // Only a client that is sending has its own time; one that waits for a 100
                        // (Continue), or an endpoint that does not read, is the endpoint's doing.
                        progress.on_client =
                            upload.waits_for_input() && (upload.has_moved() || !expects);
                        alarm.set(match progress.on_client {
                            true => timers.now() + idle,
                            false => deadlines.after_upload(timers.now(), call, upload),
                        });
                    }
                    Poll::Pending => {}
                }
            }
            loop {
                if buffer.capacity() == 0 {
                    match origin_read.as_ref().poll_read_ready(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(_) => *buffer = pool.small(),
                    }
                }
                match poll_fill(cx, &mut origin_read, buffer) {
                    Poll::Pending => {
                        if buffer.is_empty() {
                            *buffer = pool.none();
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(0) | Err(_)) => {
                        return Poll::Ready(Event::Closed(!buffer.is_empty()));
                    }
                    Poll::Ready(Ok(_)) => {}
                }
                if let Some(event) = parse(buffer, limits, method, head) {
                    return Poll::Ready(event);
                }
            }
        })
        .await;
    match waited {
        Err(Rung::Time) if !progress.done && progress.on_client => {
            Ok(Event::Body(ProxyError::BodyTimeout))
        }
        waited => waited,
    }
}

struct Progress {
    moved: u64,
    done: bool,
    /// What is waited for is the client's body.
    on_client: bool,
}

impl Deadlines {
    /// A body may take its time to arrive; the endpoint's time to answer starts with its end.
    fn after_upload(&self, now: u64, call: &Call<'_>, upload: &Flow) -> u64 {
        match call
            .rule
            .rule()
            .timeouts
            .request
            .filter(|_| upload.has_moved())
        {
            Some(timeout) => (now + timeout.as_millis() as u64)
                .max(self.request)
                .min(self.attempt),
            None => self.next(),
        }
    }
}

fn parse(
    buffer: &mut Buffer,
    limits: &Limits,
    method: Method,
    head: &mut ResponseHead,
) -> Option<Event> {
    if buffer.is_empty() {
        return None;
    }
    match parse_response(buffer.filled(), limits, method, head) {
        Ok(Parsed::Complete(_)) => Some(Event::Head),
        Ok(Parsed::Partial) if buffer.len() < buffer.capacity() => None,
        Ok(Parsed::Partial) if buffer.capacity() < LARGE => {
            buffer.grow();
            None
        }
        Ok(Parsed::Partial) => Some(Event::BadAnswer("its head is too large")),
        Err(_) => Some(Event::BadAnswer(
            "its head is malformed, or its framing ambiguous",
        )),
    }
}

fn of_client(error: &FlowError) -> ProxyError {
    match error {
        FlowError::Body(_) => ProxyError::BadBody,
        FlowError::Read(_) | FlowError::Cut | FlowError::Write(_) => ProxyError::ClientGone,
    }
}

/// 100 (Continue), 102, 103 go to the client as they come (RFC 9110, section 15.2); an HTTP/1.0 client
/// would not understand them.
async fn pass_interim(
    conn: &mut Connection,
    scratch: &mut Scratch,
    buffer: &mut Buffer,
) -> Result<(), ProxyError> {
    if scratch.head.minor == 1 {
        let parts = write::ResponseParts {
            head: &scratch.response,
            bytes: buffer.filled(),
            edits: &super::super::filter::Edits::default(),
            set_cookie: b"",
            chunked: false,
            connection: write::Connection::Silent,
            via: false,
        };
        write::response(&mut scratch.front, &parts);
        if !send(conn, &scratch.front).await {
            return Err(ProxyError::ClientGone);
        }
    }
    buffer.consume(scratch.response.len);
    Ok(())
}

/// A change of protocol that nobody asked for would let the endpoint speak to the client unread.
fn check_upgrade(scratch: &Scratch) -> Result<(), ProxyError> {
    if scratch.response.status != 101 {
        return Ok(());
    }
    if scratch.head.upgrade.is_none() || scratch.response.upgrade.is_none() {
        return Err(ProxyError::BadAnswer(
            "it changes to a protocol that was not asked for",
        ));
    }
    Ok(())
}
