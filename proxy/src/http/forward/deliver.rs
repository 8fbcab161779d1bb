//! Delivering an endpoint's answer to the client.

use std::io;
use std::task::Poll;

use super::super::error::ProxyError;
use super::super::filter::HSTS;
use super::super::grpc::{self, Kind, Outgoing, Web};
use super::super::h1::flow::{Encoding, Flow, FlowError, Turn};
use super::super::h1::head::Framing;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write::{self, Connection as Said, ResponseParts};
use super::super::h2::head::answer_of;
use super::super::h2::watch::Watch;
use super::super::stall::{STALL_MS, Stall};
use super::super::tunnel;
use super::attempt::{Answered, Call};
use super::early::Behind;
use super::entry::Entry;
use super::{After, traced, web};
use crate::buffer::Buffer;
use crate::socket::{Socket, WriteHalf};
use crate::telemetry::Flag;
use crate::timer::Rung;
use crate::upstream::feedback::Outcome;
use crate::upstream::pool::Lease;

/// Passes the answer on and puts the connection to the endpoint back, if it is in order.
pub(super) async fn answer(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    call: &Call<'_>,
    answered: Answered,
) -> Result<After, ProxyError> {
    let Answered {
        mut lease,
        mut buffer,
        in_flight,
    } = answered;
    // There is no other try any more, and the answer may take long.
    scratch.shed_out();
    upload.shed_front();
    scratch.extra.clear();
    let web = match entry.call {
        Kind::Web { answered, .. } => Some(answered),
        _ => None,
    };
    let is_strange =
        web.is_some_and(|form| turn_head(conn, scratch, entry, call, &lease, &buffer, form));
    if call.rule.filters.say_hsts(&conn.client, &mut scratch.extra) {
        // There must be only one (RFC 6797, section 7.1).
        scratch.response.drop_named(HSTS, buffer.filled());
    }
    let framing = scratch.response.framing;
    if scratch.response.status != 101 && !is_strange {
        check_surplus(framing, buffer.len() - scratch.response.len)?;
    }
    // Known to be empty as its head arrives; in frames the head then ends the stream, which a call of gRPC that failed
    // relies on (`Trailers-Only`).
    let in_frames = lease.stream.is_h2();
    let is_empty = match in_frames {
        // What was looked at has taken from the stream what it found there.
        true => matches!(scratch.behind, Behind::Unknown) && lease.stream.is_drained(),
        false => framing == Framing::Length(0),
    };
    if is_empty && in_frames && conn.stream.is_h2() {
        scratch.response.drop_implied_length();
    }
    let plan = Plan::new(conn, scratch, upload);
    let told = traced::told(entry, &call.local.snapshot);
    if let Some((name, _)) = &told {
        scratch.response.drop_named(name, buffer.filled());
    }
    let parts = ResponseParts {
        head: &scratch.response,
        bytes: buffer.filled(),
        edits: &call.rule.filters.response,
        extra: &scratch.extra,
        set_cookie: &scratch.set_cookie,
        told: told.as_ref().map(|(name, id)| (*name, &id[..])),
        chunked: plan.encoding == Encoding::Chunked && framing != Framing::None,
        connection: plan.said,
        via: call.listener.via,
    };
    write::response(&mut scratch.front, &parts);
    buffer.consume(scratch.response.len);
    if is_strange {
        buffer = conn.worker.buffers.none();
    }
    entry.status = scratch.response.status;
    entry.responded = true;
    let head_len = scratch.front.len() as u64;
    let front = match &mut conn.stream {
        Socket::H2(exchange) => {
            if let Some(head) = answer_of(&scratch.front) {
                exchange.answer_with(head);
            }
            Vec::new()
        }
        _ => std::mem::take(&mut scratch.front),
    };
    let idle = call.listener.limits.stream_idle_timeout.as_millis() as u64;
    if scratch.response.status == 101 {
        // A tunnel may last for days: it is no request any more.
        drop(call.active.take());
        drop(entry.place.take());
        let held = conn.buffer.split_off(scratch.head.len);
        // On the heap: it lasts, and connections that are no tunnels would hold the room for it, too.
        let carried = Box::pin(tunnel::join(conn, held, &mut lease, buffer, front, idle)).await;
        entry.bytes_out = head_len + carried.down;
        entry.tunneled_in = carried.up;
        return Ok(After::Close);
    }
    let said = match framing {
        Framing::None => Framing::None,
        _ if is_empty && conn.stream.is_h2() => Framing::None,
        // That its length is the one announced is seen to below us.
        _ if in_frames => Framing::Close,
        said => said,
    };
    let encoding = match conn.stream.is_h2() {
        true => Encoding::Frames,
        false => plan.encoding,
    };
    let mut download = Flow::new(front, buffer, said, encoding, &conn.worker.buffers);
    if let Some(form) = web.filter(|_| !is_strange) {
        download.turn(Turn::ToWeb(Outgoing::new(form)));
    }
    if let Behind::End(trailers) = std::mem::take(&mut scratch.behind)
        && !is_strange
    {
        download.end_with(trailers.into_vec());
    }
    let waits = Waits {
        idle,
        stall: idle.min(STALL_MS),
        until: entry.caller_waits_ms,
    };
    let result = relay(conn, upload, &mut download, &mut lease, waits).await;
    let untouched = match &conn.stream {
        Socket::H2(exchange) => exchange.is_unstarted(),
        _ => download.is_untouched(),
    };
    if call.is_grpc && entry.grpc_status.is_none() && !(untouched && is_broken(&result)) {
        let told = called(conn, call, entry, &lease, &download, &result);
        entry.grpc_status = told;
        if let (Some(status), Err((flag, _))) = (told, &result) {
            end_call(conn, entry, &mut lease, &mut download, (status, *flag)).await;
        }
    }
    entry.bytes_out = head_len + download.moved;
    if !conn.stream.is_h2() {
        scratch.front = download.take_front();
    }
    drop(in_flight);
    if let Err((flag, after)) = result {
        let late = flag == Flag::UT && conn.worker.timers.now() >= entry.caller_waits_ms;
        if matches!(flag, Flag::UC | Flag::UT) && !late {
            // The head was a success; its body was not.
            call.report(conn, &lease.endpoint, Outcome::LocalOrigin, None);
        }
        if untouched && flag == Flag::UC {
            entry.responded = false;
            return Err(ProxyError::BadAnswer("its body is malformed"));
        }
        let ends_by_closing = plan.encoding == Encoding::Identity
            && framing != Framing::None
            && !matches!(framing, Framing::Length(_));
        match flag {
            Flag::UC if ends_by_closing => conn.stream.break_off(),
            Flag::SI => conn.stream.cut_off(),
            _ => {}
        }
        entry.flag = flag;
        return Ok(after);
    }
    let upload_done = upload.is_done();
    // What was left out is still to come on it.
    if upload_done && download.buffer.is_empty() && !is_strange {
        give_back(conn, scratch, call, lease);
    }
    match plan.keep && upload_done {
        true => Ok(After::Next),
        false => Ok(After::Linger),
    }
}

/// Turns the head of an answer to a caller of gRPC-Web; `true`: it is none of gRPC, and goes on without its body.
fn turn_head(
    conn: &Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    call: &Call<'_>,
    lease: &Lease,
    buffer: &Buffer,
    form: Web,
) -> bool {
    if web::is_call(scratch, buffer.filled()) {
        web::of_endpoint(scratch, buffer.filled(), form);
        return false;
    }
    // What looked like the beginning of a call says nothing of how it ended.
    if scratch.response.status == 200 && entry.grpc_status.is_none() {
        let outcome = Outcome::of_status(500);
        call.report(conn, &lease.endpoint, outcome, entry.upstream);
    }
    entry.grpc_status = Some(web::of_stranger(scratch, buffer.filled(), form));
    true
}

/// How the answer is framed for this client, and what becomes of the connection.
struct Plan {
    encoding: Encoding,
    keep: bool,
    said: Said,
}

impl Plan {
    fn new(conn: &Connection, scratch: &Scratch, upload: &Flow) -> Self {
        let (head, response) = (&scratch.head, &scratch.response);
        let old = head.minor == 0;
        // The end of the connection tells an HTTP/1.0 client where a body of unknown length ends.
        let unknown = matches!(response.framing, Framing::Chunked | Framing::Close);
        let encoding = if unknown && !old {
            Encoding::Chunked
        } else {
            Encoding::Identity
        };
        // A body that was waiting for a 100 (Continue) may come or not: nobody can tell what follows.
        let unasked = head.expects_continue && !upload.is_done() && !upload.has_moved();
        let ends_by_closing = unknown && old;
        let leaves = conn.says_goodbye() || conn.worker.spares_memory();
        let keep = head.keep_alive && !ends_by_closing && !unasked && !leaves;
        let said = match (response.status, keep, old) {
            (101, ..) => Said::Upgrade,
            (_, false, _) => Said::Close,
            (_, true, true) => Said::KeepAlive,
            (_, true, false) => Said::Silent,
        };
        Self {
            encoding,
            keep,
            said,
        }
    }
}

/// More bytes than the head announces: part of somebody else's answer, or of none.
fn check_surplus(framing: Framing, behind: usize) -> Result<(), ProxyError> {
    let most = match framing {
        Framing::None => 0,
        Framing::Length(length) => length,
        Framing::Chunked | Framing::Close => u64::MAX,
    };
    match behind as u64 > most {
        true => Err(ProxyError::BadAnswer("there are bytes behind its body")),
        false => Ok(()),
    }
}

/// Runs the answer down, and what is left of the request up, until the answer has been written.
async fn relay(
    conn: &mut Connection,
    upload: &mut Flow,
    download: &mut Flow,
    lease: &mut Lease,
    waits: Waits,
) -> Result<(), (Flag, After)> {
    let (mut client_read, mut client_write) = conn.stream.split();
    let (mut origin_read, mut origin_write) = lease.stream.split();
    let (alarm, timers) = (&conn.alarm, &conn.worker.timers);
    let mut uploading = !upload.is_done();
    let mut moved = u64::MAX;
    let mut stall: Option<Stall> = None;
    let finished = loop {
        let polled = alarm.watch(|cx| {
            if uploading {
                match upload.poll(cx, &mut client_read, &mut origin_write) {
                    // A request cut short is the endpoint's to judge; its answer is passed on all the same.
                    Poll::Ready(_) => uploading = false,
                    Poll::Pending => {}
                }
            }
            let polled = download.poll(cx, &mut origin_read, &mut client_write);
            if polled.is_pending() && client_write.poll_gone(cx).is_ready() {
                let gone = io::ErrorKind::ConnectionReset.into();
                return Poll::Ready(Err(FlowError::Write(gone)));
            }
            let total = (upload.moved.wrapping_add(upload.sent))
                .wrapping_add(download.moved.wrapping_add(download.sent));
            if polled.is_pending() && total != moved {
                moved = total;
                let blocked = !download.waits_for_input();
                // A stall that goes on keeps its alarm as well.
                if !(blocked && stall.is_some_and(|stall| stall.outlasts(total, waits.stall))) {
                    let now = timers.now();
                    stall = blocked.then(|| Stall::after(total, now));
                    let next = stall.map_or(now + waits.idle, |stall| waits.look(&stall, now));
                    alarm.set(next.min(waits.until));
                }
            }
            polled
        });
        match (polled.await, &mut stall) {
            (Err(Rung::Time), Some(stall)) if timers.now() < waits.until => {
                let now = timers.now();
                look(stall, now, &client_write, conn.watch.as_deref());
                if stall.is_over(now, waits.stall) {
                    return Err((Flag::SI, After::Close));
                }
                alarm.set(waits.look(stall, now).min(waits.until));
            }
            (finished, _) => break finished,
        }
    };
    match finished {
        Ok(Ok(())) => Ok(()),
        // Cut off and not ended: the client must see that the body is not whole (RFC 9112, section 8).
        Ok(Err(FlowError::Read(_) | FlowError::Cut | FlowError::Body(_))) => {
            Err((Flag::UC, After::Close))
        }
        Ok(Err(FlowError::Write(_))) => Err((Flag::DC, After::Close)),
        Err(_) => Err((Flag::UT, After::Close)),
    }
}

/// Looks whether the client reads.
fn look(stall: &mut Stall, now_ms: u64, client: &WriteHalf<'_>, shared: Option<&Watch>) {
    // While the socket that a stream shares takes nothing, its connection is what is judged.
    match shared.is_some_and(|watch| watch.stall().is_some()) {
        true => stall.restart(now_ms),
        false => stall.look(now_ms, client.unacknowledged()),
    }
}

/// How long an answer may take, on the worker's clock.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// Milliseconds in which something must move.
    idle: u64,
    /// The same where the client is what is waited for: the window of its stream, or its socket, stays shut while the answer
    /// holds a buffer.
    stall: u64,
    /// The whole of it.
    until: u64,
}

impl Waits {
    /// On the worker's clock: when to look next whether the client reads.
    fn look(&self, stall: &Stall, now_ms: u64) -> u64 {
        stall.next_look().min(now_ms + self.stall)
    }
}

fn is_broken(result: &Result<(), (Flag, After)>) -> bool {
    matches!(result, Err((Flag::UC, _)))
}

/// How a call ended whose answer has begun: as the endpoint's trailers say, or as broken off by one of the three
/// (semantics 28).
fn called(
    conn: &Connection,
    call: &Call<'_>,
    entry: &Entry<'_>,
    lease: &Lease,
    download: &Flow,
    result: &Result<(), (Flag, After)>,
) -> Option<u8> {
    match result {
        Ok(()) => {
            let status = grpc::status_in_trailers(download.trailers());
            // What says nothing of how it ended did not end well.
            let said = status.map_or(500, grpc::http_status);
            let outcome = Outcome::of_status(said);
            call.report(conn, &lease.endpoint, outcome, entry.upstream);
            status
        }
        Err((Flag::UT, _)) if conn.worker.timers.now() >= entry.caller_waits_ms => {
            Some(grpc::DEADLINE_EXCEEDED)
        }
        Err((Flag::DC | Flag::SI, _)) => Some(grpc::CANCELLED),
        Err(_) => Some(grpc::UNAVAILABLE),
    }
}

/// Milliseconds that a caller may take to read how its call was ended.
const END_PATIENCE_MS: u64 = 1000;

/// Ends a call in the endpoint's place, where the caller can still be told.
async fn end_call(
    conn: &mut Connection,
    entry: &Entry<'_>,
    lease: &mut Lease,
    download: &mut Flow,
    (status, flag): (u8, Flag),
) {
    let why = match flag {
        Flag::UT => "the endpoint did not finish in time",
        Flag::UC => "the endpoint broke off",
        _ => return,
    };
    if !conn.stream.is_h2() && !matches!(entry.call, Kind::Web { .. }) {
        return;
    }
    let mut trailers = Vec::new();
    grpc::push_status(&mut trailers, status, why);
    download.end_with(trailers.clone());
    conn.alarm.set(conn.worker.timers.now() + END_PATIENCE_MS);
    let (mut from, _) = lease.stream.split();
    let (_, mut to) = conn.stream.split();
    let ended = conn.alarm.watch(|cx| download.poll(cx, &mut from, &mut to));
    if ended.await.is_err() {
        // Who does not read the rest may read this.
        drop(to.end(&trailers));
    }
}

fn give_back(conn: &Connection, scratch: &Scratch, call: &Call<'_>, lease: Lease) {
    if scratch.response.keep_alive {
        let pool = &call.choice.service.table.service.pool;
        conn.worker.give_back(lease, pool);
    }
}
