//! The request path: from a parsed head to the last byte of the answer.

mod admit;
mod attempt;
mod authorize;
mod begin;
mod converse;
mod deadlines;
mod deliver;
mod early;
mod entry;
mod hedge;
mod pause;
mod resolve;
mod traced;
mod way;
mod web;

use crate::moment::Moment;
use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::rc::Rc;

use super::answer::{self, Answer};
use super::error::ProxyError;
use super::filter::{Reply, location};
use super::grpc::{self, Incoming, Kind, Web};
use super::h1::flow::{Encoding, Flow, Turn};
use super::h1::head::{Framing, Method};
use super::h1::serve::{Connection, Scratch};
use super::h1::write::line;
use super::h2;
use crate::runtime::overload::Shed;
use crate::socket::Socket;
use crate::telemetry::Flag;
use crate::upstream::local::Local;
use crate::upstream::permit::Permit;
use crate::upstream::pick::{self, NoChoice};
use attempt::Call;
pub(super) use early::Behind;
use entry::Entry;
use rand::{Rng, RngExt};

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request is read.
    Next,
    /// It is closed at once: nobody listens, or an answer must not look whole.
    Close,
    /// It is closed so that what was written arrives.
    Linger,
}

/// Serves the request whose head is at the front of the connection's buffer.
pub(crate) async fn exchange(
    conn: &mut Connection,
    local: &Rc<Local>,
    scratch: &mut Scratch,
) -> After {
    let started = Moment::now();
    let started_ms = conn.worker.timers.refresh(started);
    conn.worker.metrics.request_started();
    let framing = scratch.head.framing;
    // The head stays where it is, for another try and for the log; a body goes on in a buffer of its own.
    let in_frames = conn.stream.is_h2();
    let body = match framing {
        Framing::None => conn.worker.buffers.none(),
        _ if in_frames => conn.worker.buffers.none(),
        _ => conn.buffer.split_off(scratch.head.len),
    };
    let said = match framing {
        Framing::None => Framing::None,
        // The stream ends where it ends; that its length is the one announced is seen to below us.
        _ if in_frames => Framing::Close,
        said => said,
    };
    let encoding = Encoding::of_request(framing);
    let mut upload = Flow::new(Vec::new(), body, said, encoding, &conn.worker.buffers);
    let mut local = Rc::clone(local);
    let request_id = request_id(conn);
    let mut entry = Entry::new(
        started,
        started_ms,
        conn.client.peer.ip().to_canonical(),
        request_id,
    );
    entry.traced = traced::begin(conn, scratch, &local.snapshot);
    learn_call(conn, scratch, &mut entry);
    let mut result = serve(conn, &local, scratch, &mut entry, &mut upload).await;
    // The endpoints may have gone with the generation that this request was routed by: the next one knows better. Where changes come
    // fast that one may be gone as well by the time it is asked.
    while matches!(result, Err(ProxyError::NoEndpoint))
        && upload.can_restart()
        && let Some(newer) = conn.worker.newer(&local)
    {
        // Out of the entry again: what is held beside it is held while the request is served, by every connection.
        let (started, started_ms, request_id) = (entry.started, entry.started_ms, entry.request_id);
        let (attempts, done, flag) = (entry.attempts, entry.done, entry.flag);
        let (place, traced) = (entry.place.take(), entry.traced.take());
        drop((entry, result));
        local = newer;
        entry = Entry::new(
            started,
            started_ms,
            conn.client.peer.ip().to_canonical(),
            request_id,
        );
        (entry.attempts, entry.done, entry.flag) = (attempts, done, flag);
        (entry.place, entry.traced) = (place, traced);
        learn_call(conn, scratch, &mut entry);
        result = serve(conn, &local, scratch, &mut entry, &mut upload).await;
    }
    let after = match result {
        Ok(after) => after,
        Err(error) => fail(conn, scratch, &mut entry, &mut upload, &error).await,
    };
    conn.alarm.set_endpoint(None);
    entry.finish(conn, &local, scratch, &upload);
    if scratch.out.capacity() == 0 {
        // The head's memory went with the body; the next request wants it.
        scratch.out = upload.take_front();
    }
    if framing == Framing::None || in_frames {
        conn.buffer.consume(scratch.head.len);
    } else {
        conn.buffer = upload.buffer;
    }
    after
}

/// Whether the request is a call of gRPC, and how long its caller waits.
fn learn_call(conn: &Connection, scratch: &Scratch, entry: &mut Entry<'_>) {
    let bytes = conn.buffer.filled();
    entry.call = Kind::of(&scratch.head, bytes);
    if entry.call.is_call()
        && let Some(timeout) = grpc::timeout(&scratch.head, bytes)
    {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        entry.caller_waits_ms = entry.started_ms.saturating_add(timeout);
    }
}

async fn serve<'a>(
    conn: &mut Connection,
    local: &'a Rc<Local>,
    scratch: &mut Scratch,
    entry: &mut Entry<'a>,
    upload: &mut Flow,
) -> Result<After, ProxyError> {
    let table = local
        .snapshot
        .listener(conn.listener)
        .ok_or(ProxyError::NoRoute)?;
    resolve::names(conn, scratch, &table.listener)?;
    if let Some(tls) = &table.tls
        && tls.is_misdirected(conn.client.tls.as_deref(), &scratch.host)
    {
        return Err(ProxyError::Misdirected);
    }
    conn.trusted = table.listener.trusted_hops.trusts(conn.client.peer.ip());
    entry.client = resolve::client(conn, scratch, &table.listener);
    admit_to_process(conn, entry)?;
    let found = resolve::route(conn, scratch, &table.table);
    entry.rule = found.map(|found| &table.rules[found.id.index()]);
    if let Kind::Web { .. } = entry.call
        && entry.rule.is_some_and(|rule| !rule.filters.grpc_web)
    {
        // Nobody takes it for what it is: it goes on like any other request.
        entry.call = Kind::Plain;
        entry.caller_waits_ms = u64::MAX;
    }
    // Before anything is said of what there is: who may not call learns nothing but that.
    if let Some(guard) = &table.guard {
        authorize::judge(conn, scratch, entry, table, guard)?;
    }
    let (Some(found), Some(rule)) = (found, entry.rule) else {
        return Err(ProxyError::NoRoute);
    };
    scratch.extra.clear();
    if let Kind::Web { asked, .. } = entry.call {
        if asked == Web::Text && !upload.has_moved() {
            upload.turn(Turn::FromText(Incoming::default()));
        }
        web::of_client(scratch, conn.buffer.filled(), asked);
    }
    if rule.holds_back()
        && !entry.done.admitted
        && let Some(after) = admit::admit(conn, scratch, entry, upload, rule).await?
    {
        return Ok(after);
    }
    if let Some(reply) = &rule.filters.reply {
        return reply_with(conn, scratch, entry, upload, reply, found.prefix_len).await;
    }
    let bucket = resolve::bucket(conn, scratch, rule, entry.client);
    let choice =
        pick::version(local, conn.listener, rule, found.id.index(), bucket).map_err(|none| {
            match none {
                NoChoice::NoBackend => ProxyError::NoBackend,
                NoChoice::NoEndpoint => ProxyError::NoEndpoint,
            }
        })?;
    entry.service = Some(Rc::clone(&choice.service));
    entry.version = choice.version;
    let active = Permit::request(&choice.service).map_err(ProxyError::Overloaded)?;
    let key = resolve::key(conn, scratch, &choice.service.table.service, entry.client);
    let call = Call {
        local,
        listener: &table.listener,
        own_uri: table.own_uri.as_deref(),
        rule,
        choice: &choice,
        prefix_len: found.prefix_len,
        key,
        is_grpc: entry.call.is_call(),
        active: Cell::new(Some(active)),
        parked: RefCell::default(),
        uploaded_ms: Cell::new(None),
    };
    let answered = attempt::until_answered(conn, scratch, entry, upload, &call).await?;
    upload.keep_no_longer();
    deliver::answer(conn, scratch, entry, upload, &call, answered).await
}

/// Refuses a request that the process cannot hold. One atomic load, unless memory is short or requests are counted.
fn admit_to_process(conn: &Connection, entry: &mut Entry<'_>) -> Result<(), ProxyError> {
    if entry.place.is_some() {
        return Ok(());
    }
    match conn.worker.shared.overload().admit() {
        Ok(place) => {
            entry.place = place;
            Ok(())
        }
        Err(why) => Err(shed(conn, why)),
    }
}

#[cold]
fn shed(conn: &Connection, why: Shed) -> ProxyError {
    conn.worker.metrics.shed(why.text());
    let retry_after = conn.worker.random.borrow_mut().random_range(1..=3);
    ProxyError::Shed { why, retry_after }
}

/// Tells the client what went wrong, where it can still be told.
async fn fail(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    error: &ProxyError,
) -> After {
    entry.flag = error.flag();
    if matches!(error, ProxyError::Path(_) | ProxyError::BadBody) {
        conn.worker.metrics.malformed(error.status());
    }
    if entry.responded {
        return After::Close;
    }
    if entry.call.is_call() {
        let status = grpc::status_of(error);
        let lines = call_lines(entry, status, &error.to_string(), error.lines());
        let answer = Answer::of_call(&lines);
        return own_answer(conn, scratch, entry, upload, &answer, error.closes()).await;
    }
    let body = format!("{error}\n");
    let answer = Answer {
        status: error.status(),
        lines: error.lines(),
        content_type: "text/plain",
        body: body.as_bytes(),
    };
    own_answer(conn, scratch, entry, upload, &answer, error.closes()).await
}

/// The lines of an answer of ours to a call, with `more` of them, each whole.
fn call_lines(entry: &mut Entry<'_>, status: u8, message: &str, more: &[u8]) -> Vec<u8> {
    entry.grpc_status = Some(status);
    let mut lines = grpc::lines(status, message, entry.call);
    lines.extend_from_slice(more);
    lines
}

async fn reply_with(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    reply: &Reply,
    prefix_len: usize,
) -> Result<After, ProxyError> {
    entry.flag = Flag::DI;
    let mut lines = Vec::new();
    if let Some(rule) = entry.rule {
        for (name, value) in &rule.filters.response.add {
            line(&mut lines, name.as_bytes(), value.as_bytes());
        }
    }
    let answer = match reply {
        Reply::Direct {
            status,
            body,
            content_type,
        } => Answer {
            status: *status,
            lines: &lines,
            content_type,
            body: body.as_bytes(),
        },
        Reply::Redirect(redirect) => {
            let bytes = conn.buffer.filled();
            let query = scratch.head.target.query.map(|query| query.text(bytes));
            let path = scratch.path.as_str();
            let to = location(
                redirect,
                conn.client.scheme(),
                scratch.head.host.span().text(bytes),
                path,
                query,
                prefix_len,
            );
            line(&mut lines, b"Location", to.as_bytes());
            Answer {
                status: redirect.status,
                lines: &lines,
                content_type: "text/plain",
                body: b"",
            }
        }
    };
    Ok(own_answer(conn, scratch, entry, upload, &answer, false).await)
}

/// Writes an answer that is ours. The connection goes on if the request's body is out of the way.
async fn own_answer(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    answer: &Answer<'_>,
    closes: bool,
) -> After {
    let clean = !closes && !upload.has_moved() && upload.discard_buffered();
    // A client that is refused comes again: a new connection would cost more than the one it has.
    let shed = entry.flag == Flag::OM;
    let leaves = conn.says_goodbye() || (!shed && conn.worker.spares_memory());
    let keep = clean && scratch.head.keep_alive && scratch.head.minor >= 1 && !leaves;
    let mut lines = traced::lines(conn, entry, answer.lines);
    // No answer of the rule goes without, ours least of all: a page of errors is what is seen while the endpoints are down.
    if let Some(rule) = entry.rule.filter(|rule| rule.filters.hsts.is_some()) {
        rule.filters.say_hsts(&conn.client, lines.to_mut());
    }
    let answer = &Answer {
        lines: &lines,
        ..*answer
    };
    let head_len = answer::compose(
        &mut scratch.front,
        answer,
        scratch.head.kind == Method::Head,
        !keep,
    );
    entry.status = answer.status;
    entry.responded = true;
    entry.bytes_out = scratch.front.len() as u64;
    match (send(conn, &scratch.front, head_len).await, keep) {
        (true, true) => After::Next,
        (true, false) => After::Linger,
        (false, _) => After::Close,
    }
}

/// Milliseconds that a client may take to read an answer of ours.
const SEND_PATIENCE_MS: u64 = 10_000;

/// Writes an answer to the client, `head_len` bytes of head and then its body; `false` when the client is gone.
pub(super) async fn send(conn: &mut Connection, answer: &[u8], head_len: usize) -> bool {
    conn.alarm.set(conn.worker.timers.now() + SEND_PATIENCE_MS);
    let mut at = 0;
    if let Socket::H2(exchange) = &mut conn.stream {
        let Some(head) = h2::head::answer_of(&answer[..head_len]) else {
            return false;
        };
        exchange.answer_with(head);
        at = head_len;
    }
    let (_, mut to) = conn.stream.split();
    while at < answer.len() {
        let rest = [IoSlice::new(&answer[at..])];
        let wrote = conn
            .alarm
            .watch(|cx| to.poll_write_vectored(cx, &rest, true));
        match wrote.await {
            Ok(Ok(written)) if written > 0 => at += written,
            _ => return false,
        }
    }
    let flushed = conn.alarm.watch(|cx| to.poll_flush(cx)).await;
    to.end(b"").is_ok() && matches!(flushed, Ok(Ok(())))
}

/// 32 hexadecimal digits of chance, two at a time.
fn request_id(conn: &Connection) -> [u8; 32] {
    let mut random = conn.worker.random.borrow_mut();
    let chance = [
        random.next_u64().to_le_bytes(),
        random.next_u64().to_le_bytes(),
    ];
    let mut id = [0; 32];
    for (pair, byte) in id.chunks_exact_mut(2).zip(chance.as_flattened()) {
        pair.copy_from_slice(&HEX[usize::from(*byte)]);
    }
    id
}

/// Every byte in hexadecimal.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};
