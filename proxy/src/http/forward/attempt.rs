//! Attempts: one endpoint after another, until one answers or there is nothing left to try.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use weir_config::model::{Listener, RetryLimit};
use weir_decide::retry::{self, Attempt as Try, Outcome, Verdict, backoff, may_retry};

use super::super::error::ProxyError;
use super::super::filter::{mirror, rewritten};
use super::super::h1::flow::Flow;
use super::super::h1::head::Framing;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::tap::MAX_COPY;
use super::super::h1::write::{self, RequestParts, Target};
use super::converse::converse;
use super::deadlines::Deadlines;
use super::entry::Entry;
use super::pause::heed;
use super::way::{self, Connected, Way};
use crate::buffer::Buffer;
use crate::snapshot::RuleTable;
use crate::timer::Rung;
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::feedback;
use crate::upstream::local::{Local, LocalEndpoint};
use crate::upstream::permit::{InFlight, Permit};
use crate::upstream::pick::{self, Choice, MAX_TRIED};
use crate::upstream::pool::{Lease, Open};

/// What stays the same over all attempts.
pub(super) struct Call<'a> {
    pub(super) local: &'a Local,
    pub(super) listener: &'a Listener,
    pub(super) rule: &'a RuleTable,
    pub(super) choice: &'a Choice,
    pub(super) prefix_len: usize,
    /// Where the service is balanced by key.
    pub(super) key: Option<u64>,
    /// The place among the service's active requests; given up when the request becomes a tunnel (semantics 10).
    pub(super) active: Cell<Option<Permit>>,
    /// When an endpoint first had the whole of the request's body, on the worker's clock: its time to answer, and that of
    /// those tried after it, starts here (semantics 25).
    pub(super) uploaded_ms: Cell<Option<u64>>,
}

impl Call<'_> {
    /// Takes in what an attempt told of its endpoint.
    pub(super) fn report(
        &self,
        conn: &Connection,
        endpoint: &LocalEndpoint,
        outcome: feedback::Outcome,
        latency: Option<Duration>,
    ) {
        let service = &self.choice.service.table.service;
        feedback::report(
            &endpoint.state,
            service,
            &service.versions[self.choice.version].name,
            feedback::Ended {
                outcome,
                latency,
                now_ms: conn.worker.timers.now(),
            },
            &mut *conn.worker.random.borrow_mut(),
        );
    }
}

/// An endpoint's answer: its head is in the scratch, and at the front of the buffer.
pub(super) struct Answered {
    pub(super) lease: Lease,
    pub(super) buffer: Buffer,
    pub(super) in_flight: InFlight,
}

/// Why an attempt came to nothing.
pub(super) struct Failure {
    pub(super) error: ProxyError,
    /// `None`: nothing that another endpoint could do better.
    pub(super) outcome: Option<Outcome>,
    pub(super) bytes_sent: bool,
}

impl Failure {
    pub(super) fn last(error: ProxyError) -> Self {
        Self {
            error,
            outcome: None,
            bytes_sent: true,
        }
    }
}

/// Sends the request until an endpoint answers.
pub(super) async fn until_answered(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    call: &Call<'_>,
) -> Result<Answered, ProxyError> {
    write_head(conn, scratch, entry, call);
    copy(conn, scratch, entry, upload, call);
    if may_need_body(scratch, call) {
        upload.keep();
    }
    let mut tried: Vec<Rc<LocalEndpoint>> = Vec::new();
    // Held while a retry goes on, see `Permit::retry`.
    let mut _retrying = None;
    loop {
        let deadlines = Deadlines::new(conn, entry, call);
        let way = way::find(conn, call, &tried, &deadlines).await?;
        entry.attempts += 1;
        entry.endpoint = Some(Rc::clone(&way.endpoint));
        let first = if entry.attempts == 1 {
            entry.started
        } else {
            Instant::now()
        };
        let endpoint = Rc::clone(&way.endpoint);
        conn.alarm.set_endpoint(Some(Rc::clone(&endpoint)));
        let ended = attempt(conn, scratch, upload, call, way, &deadlines).await;
        let (failure, answered) = match ended {
            Ok(answered) => {
                let took = first.elapsed();
                entry.upstream = Some(took);
                let status = scratch.response.status;
                call.report(
                    conn,
                    &endpoint,
                    feedback::Outcome::of_status(status),
                    Some(took),
                );
                if status == 503 {
                    let (head, bytes) = (&scratch.response, answered.buffer.filled());
                    heed(&endpoint.state, head, bytes, conn.worker.timers.now());
                }
                let outcome = Outcome::Status(status);
                if !judge(conn, call, scratch, entry, upload, outcome, true) {
                    return Ok(answered);
                }
                let failure = Failure {
                    error: ProxyError::NoEndpoint,
                    outcome: Some(outcome),
                    bytes_sent: true,
                };
                (failure, Some(answered))
            }
            Err(failure) => {
                let again = failure.outcome.is_some_and(|o| {
                    judge(conn, call, scratch, entry, upload, o, failure.bytes_sent)
                });
                // An idle connection that closes as it is used again says nothing of its endpoint.
                let raced = matches!(
                    failure.outcome,
                    Some(Outcome::ResetBeforeResponse { reused: true })
                );
                if failure.error.is_of_endpoint() && !raced {
                    call.report(conn, &endpoint, feedback::Outcome::LocalOrigin, None);
                }
                if !again {
                    return Err(failure.error);
                }
                (failure, None)
            }
        };
        if !is_failover(conn, call, &endpoint, entry, &failure) {
            match Permit::retry(&call.choice.service) {
                Ok(permit) => _retrying = Some(permit),
                // The budget is spent: what there is must do (semantics 26).
                Err(_) => return answered.ok_or(failure.error),
            }
        }
        drop(answered);
        conn.worker.metrics.retried(reason(failure.outcome));
        entry.upstream = None;
        if tried.len() < MAX_TRIED {
            tried.push(endpoint);
        }
        back_off(conn, call, entry.attempts).await;
        if upload.has_moved() {
            // The body took the head's place.
            write_head(conn, scratch, entry, call);
        }
    }
}

/// Whether a retry is not the budget's matter: the first of a request whose endpoint went away, where the others are well.
///
/// The budget (semantics 26) keeps retries from adding to the load of a service that fails. These add none: the request
/// goes where it would have gone had the endpoint been out already. When one of three is killed, a third of the requests
/// in flight need this at the same moment, which is more than the budget, and clients would be told of the rest. Answers
/// with a 5xx and timeouts are always the budget's, and so is everything once the others fail too. A limit that somebody
/// set as a number stays that number.
fn is_failover(
    conn: &Connection,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    entry: &Entry<'_>,
    failure: &Failure,
) -> bool {
    let gone = matches!(
        failure.outcome,
        Some(Outcome::ConnectFailure | Outcome::ResetBeforeResponse { .. })
    );
    let pool = &call.choice.service.table.service.pool;
    let budget = matches!(pool.retries, RetryLimit::Budget { .. });
    let now_ms = conn.worker.timers.now();
    gone && budget && entry.attempts == 1 && pick::others_are_well(call.choice, endpoint, now_ms)
}

/// Whether the body may have to be sent twice; a larger one than is held is not copied at all.
fn may_need_body(scratch: &Scratch, call: &Call<'_>) -> bool {
    let fits = match scratch.head.framing {
        Framing::None | Framing::Length(0) => false,
        Framing::Length(length) => length <= MAX_COPY as u64,
        Framing::Chunked | Framing::Close => true,
    };
    fits && retry::may_replay(&call.rule.rule().retry, scratch.head.kind.is_idempotent())
}

fn judge(
    conn: &Connection,
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
        body_replayable: upload.can_restart(),
    };
    let verdict = may_retry(&call.rule.rule().retry, attempt, outcome);
    if verdict == Verdict::BodyGone {
        conn.worker.metrics.body_gone();
    }
    verdict.is_retry()
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

/// Waits before the next try, as the policy's backoff says.
async fn back_off(conn: &Connection, call: &Call<'_>, attempts: u8) {
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

/// Sends the rule's mirrors what the endpoint is about to get.
fn copy(
    conn: &Connection,
    scratch: &Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    call: &Call<'_>,
) {
    if call.rule.mirrors.is_empty() || std::mem::replace(&mut entry.done.mirrored, true) {
        return;
    }
    let original = mirror::Original {
        head: &scratch.head,
        text: &scratch.out,
        timeouts: &call.rule.rule().timeouts,
    };
    mirror::start(
        &conn.worker,
        call.local,
        &call.rule.mirrors,
        &original,
        upload,
    );
}

async fn attempt(
    conn: &mut Connection,
    scratch: &mut Scratch,
    upload: &mut Flow,
    call: &Call<'_>,
    way: Way,
    deadlines: &Deadlines,
) -> Result<Answered, Failure> {
    let Way {
        endpoint,
        in_flight,
        connection,
    } = way;
    let mut lease = match connection {
        Connected::Idle(lease) => lease,
        Connected::Room(open) => connect_to(conn, call, &endpoint, open, deadlines).await?,
    };
    upload.restart(std::mem::take(&mut scratch.out));
    let got = converse(conn, scratch, upload, call, &mut lease, deadlines).await;
    // The head is needed again if this try failed; the flow overwrites it once a body moves.
    if !upload.has_moved() {
        scratch.out = upload.take_front();
    }
    got.map(|buffer| Answered {
        lease,
        buffer,
        in_flight,
    })
}

async fn connect_to(
    conn: &Connection,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    open: Open,
    deadlines: &Deadlines,
) -> Result<Lease, Failure> {
    let pool = &call.choice.service.table.service.pool;
    let limit = conn.worker.timers.now() + pool.connect_timeout.as_millis() as u64;
    conn.alarm.set(limit.min(deadlines.next()));
    let failed = |error| Failure {
        error,
        outcome: Some(Outcome::ConnectFailure),
        bytes_sent: false,
    };
    match connect(endpoint.state.address, &conn.alarm).await {
        Ok(stream) => Ok(Lease::new(stream, endpoint, open)),
        Err(ConnectError::Io(error)) => Err(failed(ProxyError::Connect(error))),
        Err(ConnectError::Rung(Rung::Time)) if limit <= deadlines.next() => {
            Err(failed(ProxyError::ConnectTimeout))
        }
        Err(ConnectError::Rung(rung)) => Err(deadlines.failure(conn, rung)),
    }
}
