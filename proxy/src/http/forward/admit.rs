//! What stands before a request goes anywhere: rate limits, then faults.

use std::time::Duration;

use std::task::Poll;

use tokio::io::ReadBuf;
use weir_decide::fault;
use weir_decide::limit::RetryAfter;

use super::super::answer::Answer;
use super::super::error::ProxyError;
use super::super::filter::limit::Asker;
use super::super::h1::flow::Flow;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write::line;
use super::entry::Entry;
use super::{After, own_answer};
use crate::snapshot::RuleTable;
use crate::telemetry::Flag;

/// Lets the request go on (`None`), perhaps later, or answers it.
pub(super) async fn admit(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    rule: &RuleTable,
) -> Result<Option<After>, ProxyError> {
    entry.done.admitted = true;
    if let Err(retry) = limits(conn, scratch, entry, rule) {
        let mut lines = Vec::new();
        let mut digits = itoa::Buffer::new();
        let seconds = digits.format(retry.seconds());
        line(&mut lines, b"Retry-After", seconds.as_bytes());
        entry.flag = Flag::RL;
        let refusal = text(429, &lines, b"too many requests\n");
        return Ok(Some(
            own_answer(conn, scratch, entry, upload, &refusal, false).await,
        ));
    }
    let Some(fault) = &rule.filters.fault else {
        return Ok(None);
    };
    let injected = fault::draw(fault, &mut conn.worker.random.borrow_mut());
    if let Some(delay) = injected.delay {
        entry.flag = Flag::FI;
        hold(conn, entry, rule, delay).await?;
    }
    let Some(status) = injected.abort else {
        return Ok(None);
    };
    entry.flag = Flag::FI;
    let abort = text(status, b"", b"a fault was injected\n");
    Ok(Some(
        own_answer(conn, scratch, entry, upload, &abort, false).await,
    ))
}

fn text<'a>(status: u16, lines: &'a [u8], body: &'a [u8]) -> Answer<'a> {
    Answer {
        status,
        lines,
        content_type: "text/plain",
        body,
    }
}

/// Asks each limit in its order. What one that comes later refuses has been taken from those before it.
fn limits(
    conn: &Connection,
    scratch: &Scratch,
    entry: &Entry<'_>,
    rule: &RuleTable,
) -> Result<(), RetryAfter> {
    let asker = Asker {
        client: entry.client,
        head: &scratch.head,
        bytes: conn.buffer.filled(),
    };
    let mut random = conn.worker.random.borrow_mut();
    rule.limits
        .iter()
        .try_for_each(|limit| limit.take(&asker, entry.started, &mut *random))
}

/// Waits out a delay. The request's own time runs meanwhile, and a client that resets its connection ends it.
async fn hold(
    conn: &Connection,
    entry: &Entry<'_>,
    rule: &RuleTable,
    delay: Duration,
) -> Result<(), ProxyError> {
    let after = |time: Duration| entry.started_ms.saturating_add(time.as_millis() as u64);
    let deadline = rule.rule().timeouts.request.map_or(u64::MAX, after);
    // The clock counts whole milliseconds: never a part of one too early.
    let until = after(delay) + 1;
    conn.alarm.set(until.min(deadline));
    let gone = conn.alarm.watch(|cx| {
        let mut byte = [0];
        // An end of input is no reset: a client may close its side and still read (RFC 9112, section 9.6).
        match conn.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    });
    match gone.await {
        Ok(()) => Err(ProxyError::ClientGone),
        Err(_) if deadline <= until => Err(ProxyError::Timeout),
        Err(_) => Ok(()),
    }
}
