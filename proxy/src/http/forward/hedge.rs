//! Hedging: a try that takes too long goes on beside the next one, and the first answer counts (Envoy,
//! `hedge_on_per_try_timeout`).
//!
//! Only for requests that may be made twice and were sent whole: a try whose time ran out is parked with its connection
//! instead of broken off, and looked at whenever the current one has nothing to tell. What loses is dropped, which breaks it
//! off, and was too slow as far as its endpoint is judged.

use crate::moment::Moment;
use std::rc::Rc;
use std::task::{Context, Poll};

use weir_config::model::Limits;
use weir_decide::retry::Outcome;

use super::super::error::ProxyError;
use super::super::h1::flow::{Flow, poll_fill};
use super::super::h1::head::{Method, ResponseHead};
use super::super::h1::serve::{Connection, Scratch};
use super::super::h2::head::Asked;
use super::attempt::{Answered, Call, Failure};
use super::converse::{Event, parse, read_frames};
use super::deadlines::Deadlines;
use super::entry::Entry;
use crate::buffer::{Buffer, BufferPool};
use crate::socket::{ReadHalf, Source as _};
use crate::upstream::feedback;
use crate::upstream::permit::InFlight;
use crate::upstream::pool::Lease;

/// A try that goes on beside another.
pub(super) struct Parked {
    pub(super) lease: Lease,
    pub(super) buffer: Buffer,
    pub(super) in_flight: InFlight,
    pub(super) since: Moment,
}

/// Whether a try that failed so may go on beside the next.
pub(super) fn may_park(
    call: &Call<'_>,
    scratch: &Scratch,
    upload: &Flow,
    failure: &Failure,
) -> bool {
    let retry = &call.rule.rule().retry;
    retry.hedge
        && failure.outcome == Some(Outcome::Timeout)
        && scratch.head.kind.is_idempotent()
        && scratch.head.upgrade.is_none()
        && upload.is_done()
}

/// Looks whether one of those that are parked has a final head, which is in `head` and its buffer then; which one.
pub(super) fn poll(
    parked: &mut Vec<Parked>,
    cx: &mut Context<'_>,
    (limits, method): (&Limits, Method),
    pool: &Rc<BufferPool>,
    head: &mut ResponseHead,
) -> Poll<usize> {
    let mut at = 0;
    while at < parked.len() {
        match poll_one(&mut parked[at], cx, (limits, method), pool, head) {
            Poll::Ready(true) => return Poll::Ready(at),
            // It will not answer any more.
            Poll::Ready(false) => drop(parked.swap_remove(at)),
            Poll::Pending => at += 1,
        }
    }
    Poll::Pending
}

fn poll_one(
    parked: &mut Parked,
    cx: &mut Context<'_>,
    (limits, method): (&Limits, Method),
    pool: &Rc<BufferPool>,
    head: &mut ResponseHead,
) -> Poll<bool> {
    let buffer = &mut parked.buffer;
    let (mut from, _) = parked.lease.stream.split();
    loop {
        let event = match &mut from {
            ReadHalf::H2(receiver) => {
                let answer = std::task::ready!(receiver.poll_head(cx));
                let ended = receiver.is_empty();
                // Who asks for a tunnel is not parked.
                let asked = Asked {
                    method,
                    tunnel: None,
                };
                Some(read_frames(
                    answer, ended, buffer, pool, limits, asked, head,
                ))
            }
            _ => {
                if buffer.capacity() == 0 {
                    // An error is found again by the read.
                    let _ = std::task::ready!(from.poll_ready(cx));
                    *buffer = pool.small();
                }
                match std::task::ready!(poll_fill(cx, &mut from, buffer)) {
                    Ok(read) if read > 0 => parse(buffer, limits, method, head),
                    _ => return Poll::Ready(false),
                }
            }
        };
        match event {
            None => {}
            // The client has had its interim answers, or will from another.
            Some(Event::Head) if head.is_interim() => buffer.consume(head.len),
            Some(Event::Head) => return Poll::Ready(head.status != 101),
            Some(_) => return Poll::Ready(false),
        }
    }
}

/// Takes the one that answered, and gives the others up: they were too slow.
pub(super) fn take(
    conn: &Connection,
    entry: &mut Entry<'_>,
    call: &Call<'_>,
    at: usize,
) -> Answered {
    let mut all = call.parked.take();
    let won = all.swap_remove(at);
    lose(conn, call, all);
    let took = won.since.elapsed();
    entry.endpoint = Some(Rc::clone(&won.lease.endpoint));
    entry.upstream = Some(took);
    conn.alarm
        .set_endpoint(Some(Rc::clone(&won.lease.endpoint)));
    Answered {
        lease: won.lease,
        buffer: won.buffer,
        in_flight: won.in_flight,
    }
}

/// Gives up all that are left.
pub(super) fn lose(conn: &Connection, call: &Call<'_>, all: Vec<Parked>) {
    for lost in all {
        let endpoint = &lost.lease.endpoint;
        call.report(conn, endpoint, feedback::Outcome::LocalOrigin, None);
    }
}

/// Waits for any of those that are parked: there will be no further try.
pub(super) async fn last(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    call: &Call<'_>,
    deadlines: &Deadlines,
) -> Result<Answered, ProxyError> {
    conn.alarm.set(deadlines.all());
    let (limits, method) = (&call.listener.limits, scratch.head.kind);
    let (pool, head) = (&conn.worker.buffers, &mut scratch.response);
    let waited = conn.alarm.watch(|cx| {
        let mut parked = call.parked.borrow_mut();
        match poll(&mut parked, cx, (limits, method), pool, head) {
            Poll::Ready(at) => Poll::Ready(Some(at)),
            Poll::Pending if parked.is_empty() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    match waited.await {
        Ok(Some(at)) => Ok(take(conn, entry, call, at)),
        Ok(None) => Err(ProxyError::Reset),
        Err(rung) => {
            lose(conn, call, call.parked.take());
            Err(deadlines.failure(conn, rung).error)
        }
    }
}
