//! What stands before a request goes anywhere: rate limits, then faults.

use std::time::Duration;

use weir_decide::fault;
use weir_decide::limit::RetryAfter;

use super::super::answer::Answer;
use super::super::error::ProxyError;
use super::super::filter::limit::Asker;
use super::super::grpc;
use super::super::h1::flow::Flow;
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write::line;
use super::entry::Entry;
use super::{After, call_lines, own_answer};
use crate::snapshot::RuleTable;
use crate::telemetry::Flag;

/// An answer in place of an endpoint's.
struct Refusal {
    status: u16,
    /// Whole field lines to add.
    lines: Vec<u8>,
    text: &'static str,
    flag: Flag,
}

impl Refusal {
    fn limited(retry: RetryAfter) -> Self {
        let mut lines = Vec::new();
        let mut digits = itoa::Buffer::new();
        let seconds = digits.format(retry.seconds());
        line(&mut lines, b"Retry-After", seconds.as_bytes());
        Self {
            status: 429,
            lines,
            text: "too many requests",
            flag: Flag::RL,
        }
    }

    fn injected(status: u16) -> Self {
        Self {
            status,
            lines: Vec::new(),
            text: "a fault was injected",
            flag: Flag::FI,
        }
    }
}

/// Lets the request go on (`None`), perhaps later, or answers it.
pub(super) async fn admit(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &mut Flow,
    rule: &RuleTable,
) -> Result<Option<After>, ProxyError> {
    entry.done.admitted = true;
    let refusal = match limits(conn, scratch, entry, rule) {
        Err(retry) => Some(Refusal::limited(retry)),
        Ok(()) => faults(conn, entry, rule).await?.map(Refusal::injected),
    };
    let Some(refusal) = refusal else {
        return Ok(None);
    };
    entry.flag = refusal.flag;
    if entry.call.is_call() {
        let status = grpc::status_of_http(refusal.status);
        let lines = call_lines(entry, status, refusal.text, &refusal.lines);
        let answer = Answer::of_call(&lines);
        let after = own_answer(conn, scratch, entry, upload, &answer, false).await;
        return Ok(Some(after));
    }
    let body = format!("{}\n", refusal.text);
    let answer = Answer {
        status: refusal.status,
        lines: &refusal.lines,
        content_type: "text/plain",
        body: body.as_bytes(),
    };
    let after = own_answer(conn, scratch, entry, upload, &answer, false).await;
    Ok(Some(after))
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

/// Delays the request if it is to be delayed; gives the status if it is to be aborted.
async fn faults(
    conn: &mut Connection,
    entry: &mut Entry<'_>,
    rule: &RuleTable,
) -> Result<Option<u16>, ProxyError> {
    let Some(fault) = &rule.filters.fault else {
        return Ok(None);
    };
    let injected = fault::draw(fault, &mut *conn.worker.random.borrow_mut());
    if let Some(delay) = injected.delay {
        entry.flag = Flag::FI;
        hold(conn, entry, rule, delay).await?;
    }
    Ok(injected.abort)
}

/// Waits out a delay. The request's own time and its caller's run meanwhile, and a client that resets its connection ends it.
async fn hold(
    conn: &mut Connection,
    entry: &Entry<'_>,
    rule: &RuleTable,
    delay: Duration,
) -> Result<(), ProxyError> {
    let after = |time: Duration| entry.started_ms.saturating_add(time.as_millis() as u64);
    let request = rule.rule().timeouts.request.map_or(u64::MAX, after);
    let deadline = request.min(entry.caller_waits_ms);
    // The clock counts whole milliseconds: never a part of one too early.
    let until = after(delay) + 1;
    conn.alarm.set(until.min(deadline));
    let (alarm, stream) = (&conn.alarm, &mut conn.stream);
    let gone = alarm.watch(|cx| stream.poll_gone(cx));
    match gone.await {
        Ok(()) => Err(ProxyError::ClientGone),
        Err(_) if deadline > until => Ok(()),
        Err(_) if entry.caller_waits_ms <= request => Err(ProxyError::Deadline),
        Err(_) => Err(ProxyError::Timeout),
    }
}
