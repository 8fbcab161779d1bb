//! One try on one connection: the request goes out while the head of the answer is awaited.

use std::task::Poll;

use weir_config::model::Limits;
use weir_decide::retry::Outcome;

use super::super::error::ProxyError;
use super::super::filter::Edits;
use super::super::h1::flow::{Flow, FlowError, poll_fill};
use super::super::h1::head::{Method, Parsed, ResponseHead, parse_response};
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write;
use super::attempt::{Call, Failure};
use super::deadlines::Deadlines;
use super::send;
use crate::buffer::{Buffer, LARGE};
use crate::timer::Rung;
use crate::upstream::pool::Lease;

/// More interim responses than any use has; an endpoint that sends them without end is cut off.
const MAX_INTERIM: u8 = 16;

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
pub(super) async fn converse(
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
                        if call.uploaded_ms.get().is_none() && upload.has_moved() {
                            call.uploaded_ms.set(Some(timers.now()));
                        }
                        alarm.set(deadlines.after_upload(timers.now(), call, upload));
                    }
                    // The endpoint reads no further; it may still say why.
                    Poll::Ready(Err(FlowError::Write(_))) => progress.done = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Body(of_client(&error))),
                    Poll::Pending => {
                        // Only a client that is sending has its own time; one that waits for a 100
                        // (Continue), or an endpoint that does not read, is the endpoint's doing.
                        let on_client =
                            upload.waits_for_input() && (upload.has_moved() || !expects);
                        // A body sent again moves nothing, and then waits for its rest.
                        if progress.moved != upload.moved || progress.on_client != on_client {
                            progress.moved = upload.moved;
                            progress.on_client = on_client;
                            alarm.set(match on_client {
                                true => timers.now() + idle,
                                false => deadlines.after_upload(timers.now(), call, upload),
                            });
                        }
                    }
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
            edits: &Edits::default(),
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
