//! Beginning an attempt: a connection is made where there is none, or a stream opened on one that is shared.

use std::rc::Rc;

use weir_decide::retry::Outcome;

use super::super::error::ProxyError;
use super::super::h1::flow::Encoding;
use super::super::h1::head::Framing;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h2::exchange::Exchange;
use super::super::h2::head::request_of;
use super::super::h2::websocket;
use super::attempt::{Call, Failure};
use super::deadlines::Deadlines;
use super::way::{self, Connected};
use crate::timer::Rung;
use crate::upstream::connect::{self, ConnectError, Made};
use crate::upstream::local::LocalEndpoint;
use crate::upstream::multiplex::Place;
use crate::upstream::permit::Permit;
use crate::upstream::pool::{Lease, Open};

fn failed(error: ProxyError) -> Failure {
    Failure {
        error,
        outcome: Some(Outcome::ConnectFailure),
        bytes_sent: false,
    }
}

/// How a body goes to an endpoint in frames. What becomes a tunnel has no end yet.
pub(super) fn encoding(conn: &Connection, scratch: &Scratch) -> Encoding {
    match websocket::asked(&scratch.head, conn.buffer.filled()) {
        Some(_) => Encoding::Identity,
        None => Encoding::Frames,
    }
}

/// Sends the head on a stream of its own.
pub(super) fn stream(
    conn: &Connection,
    scratch: &Scratch,
    call: &Call<'_>,
    place: Place,
) -> Result<Lease, Failure> {
    let head = &scratch.head;
    let secure = call.choice.service.table.service.tls.is_some();
    let trailers = call.is_grpc || head.wants_trailers(conn.buffer.filled());
    let is_tunnel = websocket::asked(head, conn.buffer.filled()).is_some();
    let request = request_of(&scratch.out, secure, trailers, is_tunnel)
        .ok_or_else(|| Failure::last(ProxyError::BadAnswer("it cannot be asked over HTTP/2")))?;
    let mut requests = place.requests();
    if is_tunnel && !requests.is_extended_connect_protocol_enabled() {
        return Err(Failure::last(ProxyError::NoTunnel));
    }
    let ended = !is_tunnel && matches!(head.framing, Framing::None | Framing::Length(0));
    match requests.send_request(request, ended) {
        Ok((answer, body)) => Ok(Lease::of_stream(
            Exchange::of_endpoint(answer, body, ended),
            place,
        )),
        // It went away since it was looked at; nothing was sent.
        Err(_) => Err(Failure {
            error: ProxyError::GoingAway,
            outcome: Some(Outcome::RefusedStream),
            bytes_sent: false,
        }),
    }
}

/// Waits for the connection that is being made, and takes a place on it; has another made where it is full at once.
pub(super) async fn joined(
    conn: &Connection,
    scratch: &Scratch,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    deadlines: &Deadlines,
) -> Result<Lease, Failure> {
    let service = &call.choice.service;
    let mut started = 0;
    // As one that waits in the service's line, where that comes to it.
    let (mut pending, mut since) = (None, None);
    loop {
        conn.alarm.set(deadlines.next());
        let made = conn.alarm.watch(|cx| endpoint.multiplex.poll_made(cx));
        match made.await {
            Ok(Ok(())) => {}
            Ok(Err(ConnectError::Io(error))) => return Err(failed(ProxyError::Connect(error))),
            Ok(Err(ConnectError::Rung(_))) => return Err(failed(ProxyError::ConnectTimeout)),
            Err(rung) => return Err(deadlines.failure(conn, rung)),
        }
        match way::connected(conn, service, endpoint) {
            Some(Connected::Shared(place)) => return stream(conn, scratch, call, place),
            Some(Connected::Idle(lease)) => return Ok(lease),
            Some(Connected::Coming) => {}
            Some(Connected::Room(open)) if is_shared(call, endpoint) => {
                started += 1;
                if started > MAX_STARTED {
                    return Err(failed(ProxyError::Reset));
                }
                connect::start(&conn.worker, service, endpoint, open);
            }
            Some(Connected::Room(open)) => {
                return alone(conn, call, endpoint, open, deadlines).await;
            }
            None => {
                if pending.is_none() {
                    let place = Permit::pending(service).map_err(ProxyError::Overloaded);
                    pending = Some(place.map_err(Failure::last)?);
                }
                let waited = way::wait(conn, service, deadlines, since).await;
                since = Some(waited.map_err(Failure::last)?);
                conn.alarm.set_endpoint(Some(Rc::clone(endpoint)));
            }
        }
    }
}

/// Further connections that one request has made for it to find no place on: an endpoint that takes no streams is not asked for
/// ever.
const MAX_STARTED: u8 = 2;

/// Has a connection made, and begins on it.
pub(super) async fn made(
    conn: &Connection,
    scratch: &Scratch,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    open: Open,
    deadlines: &Deadlines,
) -> Result<Lease, Failure> {
    if is_shared(call, endpoint) {
        connect::start(&conn.worker, &call.choice.service, endpoint, open);
        return joined(conn, scratch, call, endpoint, deadlines).await;
    }
    alone(conn, call, endpoint, open, deadlines).await
}

fn is_shared(call: &Call<'_>, endpoint: &LocalEndpoint) -> bool {
    call.choice.service.table.may_share() && endpoint.multiplex.may_come()
}

/// Makes a connection that is this request's alone.
async fn alone(
    conn: &Connection,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    open: Open,
    deadlines: &Deadlines,
) -> Result<Lease, Failure> {
    let service = &call.choice.service;
    let patience = service.table.service.pool.connect_timeout;
    let limit = conn.worker.timers.now() + patience.as_millis() as u64;
    conn.alarm.set(limit.min(deadlines.next()));
    // On the heap for as long as it lasts: each connection of a client would hold the room for it, idle or not.
    match Box::pin(connect::open(
        &conn.worker,
        service,
        endpoint,
        open,
        &conn.alarm,
    ))
    .await
    {
        Ok(Made::Whole(socket, open)) => Ok(Lease::new(socket, endpoint, open)),
        // It chose HTTP/2, which it did not when it was asked last: the next who asks shares it.
        Ok(Made::Shared(..)) => {
            endpoint.multiplex.clear();
            Err(failed(ProxyError::Reset))
        }
        Err(ConnectError::Io(error)) => Err(failed(ProxyError::Connect(error))),
        Err(ConnectError::Rung(Rung::Time)) if limit <= deadlines.next() => {
            Err(failed(ProxyError::ConnectTimeout))
        }
        Err(ConnectError::Rung(rung)) => Err(deadlines.failure(conn, rung)),
    }
}
