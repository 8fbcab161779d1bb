//! Delivering an endpoint's answer to the client.

use std::task::Poll;

use super::super::error::ProxyError;
use super::super::h1::flow::{Encoding, Flow, FlowError};
use super::super::h1::head::Framing;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write::{self, Connection as Said, ResponseParts};
use super::super::tunnel;
use super::After;
use super::attempt::{Answered, Call};
use super::entry::Entry;
use crate::telemetry::Flag;
use crate::upstream::feedback::Outcome;
use crate::upstream::pool::{Lease, Pool};

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
    let framing = scratch.response.framing;
    if scratch.response.status != 101 {
        check_surplus(framing, buffer.len() - scratch.response.len)?;
    }
    let plan = Plan::new(conn, scratch, upload);
    let parts = ResponseParts {
        head: &scratch.response,
        bytes: buffer.filled(),
        edits: &call.rule.filters.response,
        set_cookie: &scratch.set_cookie,
        chunked: plan.encoding == Encoding::Chunked && framing != Framing::None,
        connection: plan.said,
        via: call.listener.via,
    };
    write::response(&mut scratch.front, &parts);
    buffer.consume(scratch.response.len);
    entry.status = scratch.response.status;
    entry.responded = true;
    let front = std::mem::take(&mut scratch.front);
    let head_len = front.len() as u64;
    let idle = call.listener.limits.stream_idle_timeout.as_millis() as u64;
    if scratch.response.status == 101 {
        // A tunnel may last for days: it is no request any more.
        drop(call.active.take());
        drop(entry.place.take());
        let held = conn.buffer.split_off(scratch.head.len);
        let carried = tunnel::join(conn, held, &mut lease, buffer, front, idle).await;
        entry.bytes_out = head_len + carried.down;
        entry.tunneled_in = carried.up;
        return Ok(After::Close);
    }
    let mut download = Flow::new(front, buffer, framing, plan.encoding, &conn.worker.buffers);
    let result = relay(conn, upload, &mut download, &mut lease, idle).await;
    entry.bytes_out = head_len + download.moved;
    let untouched = download.is_untouched();
    scratch.front = download.take_front();
    drop(in_flight);
    if let Err((flag, after)) = result {
        if matches!(flag, Flag::UC | Flag::UT) {
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
        if flag == Flag::UC && ends_by_closing {
            // An orderly end would make the cut body look whole.
            drop(conn.stream.set_zero_linger());
        }
        entry.flag = flag;
        return Ok(after);
    }
    let upload_done = upload.is_done();
    if upload_done && download.buffer.is_empty() {
        give_back(conn, scratch, call, lease);
    }
    match plan.keep && upload_done {
        true => Ok(After::Next),
        false => Ok(After::Linger),
    }
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
        let leaves = conn.worker.says_goodbye() || conn.worker.spares_memory();
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
    idle: u64,
) -> Result<(), (Flag, After)> {
    let (mut client_read, mut client_write) = conn.stream.split();
    let (mut origin_read, mut origin_write) = lease.stream.split();
    let (alarm, timers) = (&conn.alarm, &conn.worker.timers);
    let mut uploading = !upload.is_done();
    let mut moved = u64::MAX;
    let finished = alarm
        .watch(|cx| {
            if uploading {
                match upload.poll(cx, &mut client_read, &mut origin_write) {
                    // A request cut short is the endpoint's to judge; its answer is passed on all the same.
                    Poll::Ready(_) => uploading = false,
                    Poll::Pending => {}
                }
            }
            let polled = download.poll(cx, &mut origin_read, &mut client_write);
            let total = upload.moved.wrapping_add(download.moved);
            if polled.is_pending() && total != moved {
                moved = total;
                alarm.set(timers.now() + idle);
            }
            polled
        })
        .await;
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

fn give_back(conn: &Connection, scratch: &Scratch, call: &Call<'_>, lease: Lease) {
    let pool = &call.choice.service.table.service.pool;
    let limit = pool.max_requests_per_connection;
    let worn = limit > 0 && lease.served.saturating_add(1) >= limit;
    if scratch.response.keep_alive && !worn {
        Pool::put(lease, conn.worker.timers.now(), pool.max_idle_per_endpoint);
    }
}
