//! One try on one connection: the request goes out while the head of the answer is awaited.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use weir_config::model::Limits;
use weir_decide::retry::Outcome;

use super::super::error::ProxyError;
use super::super::filter::Edits;
use super::super::h1::flow::{Flow, FlowError, poll_fill};
use super::super::h1::head::{
    HeadError, Method, Parsed, RequestHead, ResponseHead, parse_response,
};
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write;
use super::super::h2::head::{Asked, answer_of, read_answer};
use super::super::h2::websocket;
use super::attempt::{Call, Failure};
use super::deadlines::Deadlines;
use super::hedge;
use super::send;
use crate::buffer::{Buffer, BufferPool, LARGE};
use crate::socket::{ReadHalf, Socket, Source as _};
use crate::timer::Rung;
use crate::upstream::pool::Lease;

/// More interim responses than any use has; an endpoint that sends them without end is cut off.
const MAX_INTERIM: u8 = 16;

/// What happened first while the request went out.
pub(super) enum Event {
    /// A head, perhaps an interim one.
    Head,
    /// The endpoint closed; `true` if part of an answer had come.
    Closed(bool),
    /// It reset the one stream, or stopped to say anything.
    Reset,
    /// It never took the request up.
    Refused,
    /// Nor did a connection that it closes in order.
    GoingAway,
    BadAnswer(&'static str),
    /// An earlier try, of this number among those parked, has answered meanwhile.
    Overtaken(usize),
    /// The client's body failed.
    Body(ProxyError),
}

/// Who answered.
pub(super) enum Answerer {
    /// The endpoint that was asked.
    This,
    /// One that was asked before, see [`hedge`].
    Parked(usize),
}

/// Sends the request and reads up to the final head; interim ones are passed on.
pub(super) async fn converse(
    conn: &mut Connection,
    scratch: &mut Scratch,
    upload: &mut Flow,
    call: &Call<'_>,
    lease: &mut Lease,
    buffer: &mut Buffer,
    deadlines: &Deadlines,
) -> Result<Answerer, Failure> {
    let reused = lease.is_reused();
    for _ in 0..MAX_INTERIM {
        let event = next_head(
            conn,
            &mut scratch.response,
            &scratch.head,
            upload,
            call,
            lease,
            buffer,
            deadlines,
        );
        match event.await.map_err(|rung| deadlines.failure(conn, rung))? {
            Event::Head if scratch.response.is_interim() => {
                pass_interim(conn, scratch, buffer)
                    .await
                    .map_err(Failure::last)?;
            }
            Event::Head => {
                return check_upgrade(scratch, conn.buffer.filled(), buffer.filled())
                    .map(|()| Answerer::This)
                    .map_err(Failure::last);
            }
            Event::Overtaken(at) => return Ok(Answerer::Parked(at)),
            Event::Closed(false) => {
                let outcome = Some(Outcome::ResetBeforeResponse { reused });
                return Err(Failure {
                    error: ProxyError::Reset,
                    outcome,
                    bytes_sent: true,
                });
            }
            Event::Reset => {
                // No idle connection closes like that, used before or not.
                let outcome = Some(Outcome::ResetBeforeResponse { reused: false });
                return Err(Failure {
                    error: ProxyError::Reset,
                    outcome,
                    bytes_sent: true,
                });
            }
            Event::Refused => return Err(unprocessed(ProxyError::Reset)),
            Event::GoingAway => return Err(unprocessed(ProxyError::GoingAway)),
            Event::Closed(true) => return Err(Failure::last(ProxyError::Reset)),
            Event::BadAnswer(why) => return Err(Failure::last(ProxyError::BadAnswer(why))),
            Event::Body(error) => return Err(Failure::last(error)),
        }
    }
    Err(Failure::last(ProxyError::BadAnswer(
        "interim responses without end",
    )))
}

fn unprocessed(error: ProxyError) -> Failure {
    Failure {
        error,
        outcome: Some(Outcome::RefusedStream),
        bytes_sent: false,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the two ends and what is between them"
)]
async fn next_head(
    conn: &mut Connection,
    head: &mut ResponseHead,
    request: &RequestHead,
    upload: &mut Flow,
    call: &Call<'_>,
    lease: &mut Lease,
    buffer: &mut Buffer,
    deadlines: &Deadlines,
) -> Result<Event, Rung> {
    let asked = Asked {
        method: request.kind,
        tunnel: websocket::asked(request, conn.buffer.filled()),
    };
    let (method, expects) = (request.kind, request.expects_continue);
    let (mut client_read, mut client_write) = conn.stream.split();
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
    let mut own = |cx: &mut Context<'_>, head: &mut ResponseHead| {
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
                    let on_client = upload.waits_for_input() && (upload.has_moved() || !expects);
                    // A body sent again moves nothing, and then waits for its rest.
                    if progress.moved != upload.moved || progress.on_client != on_client {
                        progress.moved = upload.moved;
                        progress.on_client = on_client;
                        alarm.set(match on_client {
                            true => deadlines.while_sending(timers.now() + idle),
                            false => deadlines.after_upload(timers.now(), call, upload),
                        });
                    }
                }
            }
        }
        if let ReadHalf::H2(receiver) = &mut origin_read {
            let answer = ready!(receiver.poll_head(cx));
            let ended = receiver.is_empty();
            return Poll::Ready(read_frames(
                answer, ended, buffer, pool, limits, asked, head,
            ));
        }
        loop {
            if buffer.capacity() == 0 {
                match origin_read.poll_ready(cx) {
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
    };
    // Whether the client is still there is asked before anything is sent for it, and then whenever there is nothing else to do.
    let mut begun = false;
    let waited = alarm
        .watch(|cx| {
            let begins = !std::mem::replace(&mut begun, true);
            if begins && client_write.poll_gone(cx).is_ready() {
                return Poll::Ready(Event::Body(ProxyError::ClientGone));
            }
            let polled = own(cx, head);
            if polled.is_ready() {
                return polled;
            }
            if !begins && client_write.poll_gone(cx).is_ready() {
                return Poll::Ready(Event::Body(ProxyError::ClientGone));
            }
            let mut parked = call.parked.borrow_mut();
            if parked.is_empty() {
                return Poll::Pending;
            }
            hedge::poll(&mut parked, cx, (limits, method), pool, head).map(Event::Overtaken)
        })
        .await;
    let on_client = !progress.done && progress.on_client;
    match waited {
        Err(Rung::Time) if on_client && !deadlines.has_caller_left(timers.now()) => {
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

pub(super) fn parse(
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

/// Reads an answer that came in frames.
pub(super) fn read_frames(
    answer: Result<http::Response<()>, h2::Error>,
    ended: bool,
    buffer: &mut Buffer,
    pool: &Rc<BufferPool>,
    limits: &Limits,
    asked: Asked<'_>,
    head: &mut ResponseHead,
) -> Event {
    let answer = match answer {
        Ok(answer) => answer.into_parts().0,
        // Of the streams that a GOAWAY is an error to, nothing was processed (RFC 9113, section 6.8); of one that is
        // refused neither (section 8.7).
        Err(error) if error.is_go_away() && error.is_remote() => return Event::GoingAway,
        Err(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => return Event::Refused,
        Err(error) if error.is_reset() && error.is_remote() => return Event::Reset,
        // Nobody was there any more, which no idle connection that closes looks like.
        Err(error) if is_lost(&error) => return Event::Reset,
        Err(error) if error.is_library() => {
            return Event::BadAnswer("it breaks the rules of HTTP/2");
        }
        Err(_) => return Event::Closed(false),
    };
    *buffer = pool.small();
    match read_answer(&answer, ended, asked, buffer, limits, head) {
        Ok(()) => Event::Head,
        Err(HeadError::FieldsTooLarge) => Event::BadAnswer("its head is too large"),
        Err(_) => Event::BadAnswer("its head is malformed, or its framing ambiguous"),
    }
}

fn is_lost(error: &h2::Error) -> bool {
    let error = error.get_io();
    error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
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
    if scratch.head.minor >= 1 {
        let parts = write::ResponseParts {
            head: &scratch.response,
            bytes: buffer.filled(),
            edits: &Edits::default(),
            extra: b"",
            set_cookie: b"",
            told: None,
            chunked: false,
            connection: write::Connection::Silent,
            via: false,
        };
        write::response(&mut scratch.front, &parts);
        let told = match &mut conn.stream {
            Socket::H2(exchange) => {
                answer_of(&scratch.front).is_some_and(|interim| exchange.inform(interim).is_ok())
            }
            _ => send(conn, &scratch.front, scratch.front.len()).await,
        };
        if !told {
            return Err(ProxyError::ClientGone);
        }
    }
    buffer.consume(scratch.response.len);
    Ok(())
}

/// A change of protocol that nobody asked for would let the endpoint speak to the client unread.
fn check_upgrade(scratch: &Scratch, asked: &[u8], answer: &[u8]) -> Result<(), ProxyError> {
    let (head, response) = (&scratch.head, &scratch.response);
    // To a client of HTTP/2 any success opens its tunnel, and the key is ours.
    let key = (head.minor == 2)
        .then(|| websocket::asked(head, asked))
        .flatten();
    let why = match (response.status, key) {
        (101, _) if head.upgrade.is_none() || response.upgrade.is_none() => {
            "it changes to a protocol that was not asked for"
        }
        (101, Some(key)) if !websocket::is_accepted(key, response, answer) => {
            "it has not read the key of the WebSocket"
        }
        (200..=299, Some(_)) => "it does not change to the WebSocket that was asked for",
        _ => return Ok(()),
    };
    Err(ProxyError::BadAnswer(why))
}
