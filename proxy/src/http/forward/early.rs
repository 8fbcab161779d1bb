//! Looking behind the head of a call's answer before it is passed on.
//!
//! A call that fails says so in its head, or behind it. Where nothing else stands behind it, nobody has seen anything of the answer
//! yet, and the call may be tried again as if its head had said it (semantics 28). The end mostly comes right behind the head,
//! but nothing says that it does: a stream whose first message takes its time is not held up for longer than [`PATIENCE_MS`].

use std::task::Poll;

use weir_config::model::RetryOn;

use super::super::grpc;
use super::super::h1::flow::Flow;
use super::super::h1::serve::{Connection, Scratch};
use super::attempt::Call;
use super::entry::Entry;
use crate::socket::Source as _;
use crate::upstream::pool::Lease;

/// Milliseconds that a head waits for what stands behind it.
const PATIENCE_MS: u64 = 100;

/// What is known to stand behind the head of an answer.
#[derive(Debug, Default)]
pub(in crate::http) enum Behind {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// Data, or nothing for so long that it was not waited for.
    Body,
    /// Nothing but these trailers, whole lines.
    End(Box<[u8]>),
}

/// Learns how a call ended, where the head of its answer says so, or what stands behind it and may lead to another try.
pub(super) async fn learn(
    conn: &mut Connection,
    scratch: &mut Scratch,
    entry: &mut Entry<'_>,
    upload: &Flow,
    call: &Call<'_>,
    (lease, bytes): (&mut Lease, &[u8]),
) {
    entry.grpc_status = None;
    if scratch.response.status != 200 {
        return;
    }
    let said = grpc::value_of(&scratch.response.fields, bytes, b"grpc-status");
    entry.grpc_status = said.map(grpc::parse_status);
    if said.is_some() || !may_go_again(entry, upload, call) {
        return;
    }
    if lease.stream.is_h2() && !lease.stream.is_drained() {
        scratch.behind = look(conn, lease).await;
        if let Behind::End(trailers) = &scratch.behind {
            entry.grpc_status = grpc::status_in_trailers(trailers);
        }
    }
}

/// Whether it matters how the call ended: its policy names a status. Who still sends may wait for the head.
fn may_go_again(entry: &Entry<'_>, upload: &Flow, call: &Call<'_>) -> bool {
    let policy = &call.rule.rule().retry;
    entry.attempts - entry.spared <= policy.attempts
        && policy.on.iter().any(|on| matches!(on, RetryOn::Grpc(_)))
        && upload.is_done()
        && upload.can_restart()
}

async fn look(conn: &mut Connection, lease: &mut Lease) -> Behind {
    conn.alarm.set(conn.worker.timers.now() + PATIENCE_MS);
    let (mut from, _) = lease.stream.split();
    let (_, mut to) = conn.stream.split();
    // A client that leaves, a stream that breaks off and a time that is up are found again by who passes the answer on.
    let looked = conn.alarm.watch(|cx| match to.poll_gone(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => from.poll_ready(cx).map(drop),
    });
    let _ = looked.await;
    match from.is_at_end() {
        true => Behind::End(from.trailers().unwrap_or_default()),
        false => Behind::Body,
    }
}
