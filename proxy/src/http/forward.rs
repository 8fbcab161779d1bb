//! The request path: from a parsed head to the last byte of the answer.

mod admit;
mod attempt;
mod converse;
mod deadlines;
mod deliver;
mod entry;
mod pause;
mod resolve;
mod way;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use rand::{Rng, RngExt};
use tokio::io::AsyncWrite;

use super::answer::{self, Answer};
use super::error::ProxyError;
use super::filter::{Reply, location};
use super::h1::flow::{Encoding, Flow};
use super::h1::head::{Framing, Method};
use super::h1::serve::{Connection, Scratch};
use super::h1::write::line;
use crate::runtime::overload::Shed;
use crate::telemetry::Flag;
use crate::upstream::local::Local;
use crate::upstream::permit::Permit;
use crate::upstream::pick::{self, NoChoice};
use attempt::Call;
use entry::Entry;

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
    let started = Instant::now();
    let started_ms = conn.worker.timers.refresh(started);
    conn.worker.metrics.request_started();
    let framing = scratch.head.framing;
    // The head stays where it is, for another try and for the log; a body goes on in a buffer of its own.
    let body = match framing {
        Framing::None => conn.worker.buffers.none(),
        _ => conn.buffer.split_off(scratch.head.len),
    };
    let encoding = if framing == Framing::Chunked {
        Encoding::Chunked
    } else {
        Encoding::Identity
    };
    let mut upload = Flow::new(Vec::new(), body, framing, encoding, &conn.worker.buffers);
    let mut local = Rc::clone(local);
    let request_id = request_id(conn);
    let mut entry = Entry::new(
        started,
        started_ms,
        conn.peer.ip().to_canonical(),
        request_id,
    );
    let mut result = serve(conn, &local, scratch, &mut entry, &mut upload).await;
    // The endpoints may have gone with the generation that this request was routed by: the next one knows better.
    if matches!(result, Err(ProxyError::NoEndpoint)) && upload.can_restart() {
        let newer = conn.worker.local();
        if !Rc::ptr_eq(&newer, &local) {
            let (attempts, done, flag) = (entry.attempts, entry.done, entry.flag);
            let place = entry.place.take();
            drop((entry, result));
            local = newer;
            entry = Entry::new(
                started,
                started_ms,
                conn.peer.ip().to_canonical(),
                request_id,
            );
            (entry.attempts, entry.done, entry.flag) = (attempts, done, flag);
            entry.place = place;
            result = serve(conn, &local, scratch, &mut entry, &mut upload).await;
        }
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
    if framing == Framing::None {
        conn.buffer.consume(scratch.head.len);
    } else {
        conn.buffer = upload.buffer;
    }
    after
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
    conn.trusted = table.listener.trusted_hops.trusts(conn.peer.ip());
    entry.client = resolve::client(conn, scratch, &table.listener.trusted_hops);
    admit_to_process(conn, entry)?;
    let found = resolve::route(conn, scratch, &table.table).ok_or(ProxyError::NoRoute)?;
    let rule = &table.rules[found.id.index()];
    entry.rule = Some(rule);
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
        rule,
        choice: &choice,
        prefix_len: found.prefix_len,
        key,
        active: Cell::new(Some(active)),
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
    let body = format!("{error}\n");
    let answer = Answer {
        status: error.status(),
        lines: error.lines(),
        content_type: "text/plain",
        body: body.as_bytes(),
    };
    own_answer(conn, scratch, entry, upload, &answer, error.closes()).await
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
    let leaves = conn.worker.says_goodbye() || (!shed && conn.worker.spares_memory());
    let keep = clean && scratch.head.keep_alive && scratch.head.minor == 1 && !leaves;
    answer::compose(
        &mut scratch.front,
        answer,
        scratch.head.kind == Method::Head,
        !keep,
    );
    entry.status = answer.status;
    entry.responded = true;
    entry.bytes_out = scratch.front.len() as u64;
    match (send(conn, &scratch.front).await, keep) {
        (true, true) => After::Next,
        (true, false) => After::Linger,
        (false, _) => After::Close,
    }
}

/// Milliseconds that a client may take to read an answer of ours.
const SEND_PATIENCE_MS: u64 = 10_000;

/// Writes all of it to the client; `false` when the client is gone.
pub(super) async fn send(conn: &mut Connection, bytes: &[u8]) -> bool {
    conn.alarm.set(conn.worker.timers.now() + SEND_PATIENCE_MS);
    let (_, mut to) = conn.stream.split();
    let mut at = 0;
    while at < bytes.len() {
        match conn
            .alarm
            .watch(|cx| Pin::new(&mut to).poll_write(cx, &bytes[at..]))
            .await
        {
            Ok(Ok(written)) if written > 0 => at += written,
            _ => return false,
        }
    }
    true
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
