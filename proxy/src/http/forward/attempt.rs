//! Attempts: one endpoint after another, until one answers or there is nothing left to try.

use crate::moment::Moment;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use weir_config::model::{Listener, RetryLimit};
use weir_decide::retry::{self, Attempt as Try, Outcome, Replay, Verdict, backoff, may_retry};

use super::super::error::ProxyError;
use super::super::filter::{mirror, rewritten};
use super::super::grpc;
use super::super::h1::flow::{Encoding, Flow};
use super::super::h1::head::Framing;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::tap::MAX_COPY;
use super::super::h1::write::{self, ClientCert, RequestParts, Target};
use super::begin;
use super::converse::{Answerer, converse};
use super::deadlines::Deadlines;
use super::early::{self, Behind};
use super::entry::Entry;
use super::hedge::{self, Parked};
use super::pause::heed;
use super::traced;
use super::way::{self, Connected, Way};
use crate::buffer::Buffer;
use crate::snapshot::RuleTable;
use crate::upstream::feedback;
use crate::upstream::local::{Local, LocalEndpoint};
use crate::upstream::permit::{InFlight, Permit};
use crate::upstream::pick::{self, Choice, MAX_TRIED};
use crate::upstream::pool::Lease;

/// What stays the same over all attempts.
pub(super) struct Call<'a> {
    pub(super) local: &'a Local,
    pub(super) listener: &'a Listener,
    /// Of the listener's own certificate.
    pub(super) own_uri: Option<&'a str>,
    pub(super) rule: &'a RuleTable,
    pub(super) choice: &'a Choice,
    pub(super) prefix_len: usize,
    /// Where the service is balanced by key.
    pub(super) key: Option<u64>,
    /// The place among the service's active requests; given up when the request becomes a tunnel (semantics 10).
    pub(super) active: Cell<Option<Permit>>,
    /// Tries that took too long and go on beside the next.
    pub(super) parked: RefCell<Vec<Parked>>,
    /// Whether it is one of gRPC, which cannot do without trailers.
    pub(super) is_grpc: bool,
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
    if may_need_body(scratch, entry, call) {
        upload.keep();
    }
    let mut tried: Vec<Rc<LocalEndpoint>> = Vec::new();
    // Held while a retry goes on, see `Permit::retry`.
    let mut _retrying = None;
    loop {
        let deadlines = Deadlines::new(conn, entry, call);
        let way = way::find(conn, call, &tried, &deadlines).await?;
        scratch.behind = Behind::Unknown;
        entry.attempts += 1;
        entry.endpoint = Some(Rc::clone(&way.endpoint));
        entry.try_began = match entry.attempts {
            1 => entry.started,
            _ => Moment::now(),
        };
        let endpoint = Rc::clone(&way.endpoint);
        conn.alarm.set_endpoint(Some(Rc::clone(&endpoint)));
        traced::try_begins(entry);
        let ended = attempt(conn, scratch, entry, upload, call, way, &deadlines).await;
        let outcome = match &ended {
            Ok(Won::This(_)) => Ok((scratch.response.status, entry.grpc_status)),
            Ok(Won::Parked(_)) => Err(&ProxyError::Timeout),
            Err(failure) => Err(&failure.error),
        };
        traced::try_ended(entry, &endpoint, outcome);
        let (failure, answered) = match ended {
            Ok(Won::Parked(at)) => {
                let answered = hedge::take(conn, entry, call, at);
                let outcome = feedback::Outcome::of_status(scratch.response.status);
                call.report(conn, &answered.lease.endpoint, outcome, entry.upstream);
                traced::answered_late(entry, &answered.lease.endpoint, scratch.response.status);
                return Ok(answered);
            }
            Ok(Won::This(answered)) => {
                let status = scratch.response.status;
                let said = entry.grpc_status.map_or(status, grpc::http_status);
                // A call that has begun well tells in its trailers how it ended.
                if !entry.call.is_call() || entry.grpc_status.is_some() || status != 200 {
                    let outcome = feedback::Outcome::of_status(said);
                    call.report(conn, &endpoint, outcome, entry.upstream);
                }
                if status == 503 {
                    let (head, bytes) = (&scratch.response, answered.buffer.filled());
                    heed(&endpoint.state, head, bytes, conn.worker.timers.now());
                }
                let outcome = entry
                    .grpc_status
                    .map_or(Outcome::Status(status), Outcome::Grpc);
                if !judge(conn, call, scratch, entry, upload, outcome, true) {
                    if !call.parked.borrow().is_empty() {
                        hedge::lose(conn, call, call.parked.take());
                    }
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
                // One that goes on is judged when it has answered, or was too slow.
                let goes_on = hedge::may_park(call, scratch, upload, &failure);
                if failure.error.is_of_endpoint() && !raced && !goes_on {
                    call.report(conn, &endpoint, feedback::Outcome::LocalOrigin, None);
                }
                if !again {
                    return give_up(conn, scratch, entry, call, &deadlines, failure.error).await;
                }
                (failure, None)
            }
        };
        if is_failover(conn, call, &endpoint, entry, &failure) {
            let refused = failure.outcome == Some(Outcome::ConnectFailure);
            entry.spared += u8::from(refused && entry.spared < MAX_SPARED);
        } else {
            match Permit::retry(&call.choice.service) {
                Ok(permit) => _retrying = Some(permit),
                // The budget is spent: what there is must do (semantics 26).
                Err(_) => {
                    let Some(answered) = answered else {
                        let error = failure.error;
                        return give_up(conn, scratch, entry, call, &deadlines, error).await;
                    };
                    return Ok(answered);
                }
            }
        }
        conn.worker.metrics.retried(reason(failure.outcome));
        drop((answered, failure));
        entry.upstream = None;
        if tried.len() < MAX_TRIED {
            tried.push(endpoint);
        }
        let another_parent = traced::again(conn, entry);
        if let Err(error) = back_off(conn, call, upload, &deadlines, entry.attempts).await {
            return give_up(conn, scratch, entry, call, &deadlines, error).await;
        }
        if another_parent || upload.has_moved() || entry.has_deadline() {
            // The head's place was taken by the body, or it names the last try, or the time that it had.
            write_head(conn, scratch, entry, call);
        }
    }
}

/// Who made the endpoint's answer.
enum Won {
    This(Answered),
    /// A try from before, of this number among those that are parked.
    Parked(usize),
}

/// There will be no further try; one from before may still answer.
async fn give_up(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    call: &Call<'_>,
    deadlines: &Deadlines,
    error: ProxyError,
) -> Result<Answered, ProxyError> {
    // Nobody waits any more for an answer that one from before may give.
    if call.parked.borrow().is_empty() || matches!(error, ProxyError::ClientGone) {
        return Err(error);
    }
    let answered = Box::pin(hedge::last(conn, scratch, entry, call, deadlines)).await?;
    let outcome = feedback::Outcome::of_status(scratch.response.status);
    call.report(conn, &answered.lease.endpoint, outcome, entry.upstream);
    traced::answered_late(entry, &answered.lease.endpoint, scratch.response.status);
    Ok(answered)
}

/// Endpoints that a request may meet gone in a row before that counts.
const MAX_SPARED: u8 = 3;

/// Whether a retry is not the budget's matter: the first of a request whose endpoint went away, where the others are well.
///
/// The budget (semantics 26) keeps retries from adding to the load of a service that fails. These add none: the request
/// goes where it would have gone had the endpoint been out already. For the same reason a connection that could not be made
/// is none of the policy's tries while that is so: where three of ten are stopped at once, a request may meet all of
/// them before anybody knows. When one of three is killed, a third of the requests
/// in flight need this at the same moment, which is more than the budget, and clients would be told of the rest. Answers
/// with a 5xx and timeouts are always the budget's, and so is everything once the others fail too. A limit that somebody
/// set as a number stays that number. What an endpoint that goes away never took up is new to whoever gets it, however
/// often and whoever else there is.
fn is_failover(
    conn: &Connection,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    entry: &Entry<'_>,
    failure: &Failure,
) -> bool {
    if matches!(failure.error, ProxyError::GoingAway) {
        return true;
    }
    let gone = matches!(
        failure.outcome,
        Some(Outcome::ConnectFailure | Outcome::ResetBeforeResponse { .. })
    );
    let pool = &call.choice.service.table.service.pool;
    let budget = matches!(pool.retries, RetryLimit::Budget { .. });
    let now_ms = conn.worker.timers.now();
    gone && budget
        && entry.attempts - entry.spared == 1
        && pick::others_are_well(call.choice, endpoint, now_ms)
}

/// Whether the body may have to be sent twice; a larger one than is held is not copied at all.
fn may_need_body(scratch: &Scratch, entry: &Entry<'_>, call: &Call<'_>) -> bool {
    let fits = match scratch.head.framing {
        Framing::None | Framing::Length(0) => false,
        Framing::Length(length) => length <= MAX_COPY as u64,
        Framing::Chunked | Framing::Close => true,
    };
    let request = Replay {
        idempotent: scratch.head.kind.is_idempotent(),
        call: entry.call.is_call(),
        refusable: call.choice.service.table.may_share(),
    };
    fits && retry::may_replay(&call.rule.rule().retry, request)
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
    // Policies name statuses from 400 on, and nearly every answer has another.
    if matches!(outcome, Outcome::Status(..400)) {
        return false;
    }
    let attempt = Try {
        number: entry.attempts - entry.spared,
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
        Some(Outcome::Grpc(_)) => "grpc-status",
        Some(Outcome::Timeout) => "timeout",
        Some(Outcome::RefusedStream) => "refused-stream",
        None => "other",
    }
}

/// Waits before the next try, as the policy's backoff says. The request's own time and its caller's run meanwhile, and a
/// client that leaves ends it.
async fn back_off(
    conn: &mut Connection,
    call: &Call<'_>,
    upload: &Flow,
    deadlines: &Deadlines,
    attempts: u8,
) -> Result<(), ProxyError> {
    let wait = backoff(
        &call.rule.rule().retry,
        attempts,
        &mut conn.worker.random.borrow_mut(),
    );
    let (alarm, stream) = (&conn.alarm, &mut conn.stream);
    // The try's endpoint may be removed: nothing is asked of it any more.
    alarm.set_endpoint(None);
    alarm.set(deadlines.between_tries(conn.worker.timers.now(), call, upload));
    // Most waits are shorter than a tick of the alarm.
    let mut pause = pin!(tokio::time::sleep(wait));
    let waited = alarm.watch(|cx| match pause.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => stream.poll_gone(cx).map(|()| Err(ProxyError::ClientGone)),
    });
    match waited.await {
        Ok(waited) => waited,
        Err(rung) => Err(deadlines.failure(conn, rung).error),
    }
}

/// Writes the head as the endpoint gets it; the same for every attempt, but for what a caller's time has become.
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
    let left = (entry.attempts > 0 && entry.has_deadline()).then(|| {
        let now = conn.worker.timers.now();
        grpc::timeout_text(entry.caller_waits_ms.saturating_sub(now))
    });
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
            proto: conn.client.scheme(),
            forwarded: &conn.client.forwarded,
            peer: conn.client.peer_text.as_bytes(),
            request_id: &entry.request_id,
            client_cert: ClientCert {
                mode: call.listener.client_cert,
                told: conn.client.certificate().map(|told| (call.own_uri, told)),
            },
            traced: entry
                .traced
                .as_ref()
                .zip(call.local.snapshot.tracing.as_deref()),
            timeout: left.as_deref(),
            edits: &filters.request,
            extra: &scratch.extra,
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
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    call: &Call<'_>,
    way: Way,
    deadlines: &Deadlines,
) -> Result<Won, Failure> {
    let Way {
        endpoint,
        in_flight,
        connection,
    } = way;
    let mut lease = match connection {
        Connected::Idle(lease) => lease,
        Connected::Shared(place) => begin::stream(conn, scratch, call, place)?,
        Connected::Coming => begin::joined(conn, scratch, call, &endpoint, deadlines).await?,
        Connected::Room(open) => {
            begin::made(conn, scratch, call, &endpoint, open, deadlines).await?
        }
    };
    let in_frames = lease.stream.is_h2();
    match in_frames {
        true => upload.restart(Vec::new(), begin::encoding(conn, scratch)),
        false => upload.restart(
            std::mem::take(&mut scratch.out),
            Encoding::of_request(scratch.head.framing),
        ),
    }
    let mut buffer = conn.worker.buffers.none();
    let talk = converse(
        conn,
        scratch,
        upload,
        call,
        &mut lease,
        &mut buffer,
        deadlines,
    );
    let got = talk.await;
    // The head is needed again if there is another try; the flow overwrites it once a body moves.
    if !in_frames && !upload.has_moved() {
        scratch.out = upload.lend_front();
    }
    match got {
        Ok(Answerer::This) => {
            entry.upstream = Some(entry.try_began.elapsed());
            if entry.call.is_call() {
                let bytes = buffer.filled();
                early::learn(conn, scratch, entry, upload, call, (&mut lease, bytes)).await;
            }
            Ok(Won::This(Answered {
                lease,
                buffer,
                in_flight,
            }))
        }
        Ok(Answerer::Parked(at)) => Ok(Won::Parked(at)),
        Err(failure) => {
            if hedge::may_park(call, scratch, upload, &failure) {
                call.parked.borrow_mut().push(Parked {
                    lease,
                    buffer,
                    in_flight,
                    since: entry.try_began,
                });
            }
            Err(failure)
        }
    }
}
