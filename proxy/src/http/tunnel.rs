//! Tunnels: bytes both ways after an upgrade, or between connections of which one is over TLS, each side's end passed on by
//! itself.

use std::task::{Context, Poll};

use super::h1::flow::{Encoding, Flow, FlowError};
use super::h1::head::Framing;
use super::h1::serve::Connection;
use crate::buffer::Buffer;
use crate::socket::{ReadHalf, Socket, WriteHalf};
use crate::timer::{Alarm, Rung};
use crate::upstream::pool::Lease;
use crate::worker::Worker;

/// Bytes that a tunnel carried.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Carried {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// What is written to one side before anything that the other sends, and what that one has sent already.
pub(crate) struct Ahead {
    pub(crate) front: Vec<u8>,
    pub(crate) held: Buffer,
}

/// Joins the two sockets until both sides have ended, one fails, or nothing moves for `idle_ms`. `front` is
/// written to the client first. What the client sent behind its request was held until now.
pub(crate) async fn join(
    conn: &mut Connection,
    held: Buffer,
    upstream: &mut Lease,
    early: Buffer,
    front: Vec<u8>,
    idle_ms: u64,
) -> Carried {
    let up = Ahead {
        front: Vec::new(),
        held,
    };
    let down = Ahead { front, held: early };
    let (worker, alarm) = (&conn.worker, &conn.alarm);
    let (carried, ended) = carry(
        worker,
        alarm,
        (&mut conn.stream, up),
        (&mut upstream.stream, down),
        idle_ms,
    )
    .await;
    if let Ok(Err((_, error))) = ended {
        tracing::debug!(%error, "a tunnel ended early");
    }
    carried
}

/// Which way failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the endpoint.
    Up,
    Down,
}

/// Carries both directions between two sockets. Each comes with what goes to the *other* side first.
pub(crate) async fn carry(
    worker: &Worker,
    alarm: &Alarm,
    client: (&mut Socket, Ahead),
    endpoint: (&mut Socket, Ahead),
    idle_ms: u64,
) -> (Carried, Result<Result<(), (Way, FlowError)>, Rung>) {
    let pool = worker.buffers.clone();
    let frames = |in_frames| match in_frames {
        true => Encoding::Frames,
        false => Encoding::Identity,
    };
    let ((client, ahead_up), (endpoint, ahead_down)) = (client, endpoint);
    let (encoding_up, encoding_down) = (frames(endpoint.is_h2()), frames(client.is_h2()));
    let (mut client_read, mut client_write) = client.split();
    let (mut origin_read, mut origin_write) = endpoint.split();
    let side = |ahead: Ahead, encoding| {
        let Ahead { front, held } = ahead;
        Side::new(Flow::new(front, held, Framing::Close, encoding, &pool))
    };
    let mut up = side(ahead_up, encoding_up);
    let mut down = side(ahead_down, encoding_down);
    let timers = worker.timers.clone();
    alarm.set(timers.now() + idle_ms);
    let mut moved = 0;
    let both = alarm.watch(|cx| {
        // Who has said its last may still break the stream off.
        let gone = || FlowError::Write(std::io::ErrorKind::ConnectionReset.into());
        if client_write.poll_gone(cx).is_ready() {
            return Poll::Ready(Err((Way::Down, gone())));
        }
        if origin_write.poll_gone(cx).is_ready() {
            return Poll::Ready(Err((Way::Up, gone())));
        }
        let sent = up.poll(cx, &mut client_read, &mut origin_write);
        let got = down.poll(cx, &mut origin_read, &mut client_write);
        let total = up.flow.moved + down.flow.moved;
        if total != moved {
            moved = total;
            alarm.set(timers.now() + idle_ms);
        }
        match (sent, got) {
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err((Way::Up, error))),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err((Way::Down, error))),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    });
    let ended = both.await;
    let carried = Carried {
        up: up.flow.moved,
        down: down.flow.moved,
    };
    (carried, ended)
}

/// One direction, and how far its end has come.
struct Side {
    flow: Flow,
    shut: bool,
}

impl Side {
    fn new(flow: Flow) -> Self {
        Self { flow, shut: false }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), FlowError>> {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(self.flow.poll(cx, from, to))?;
        std::task::ready!(to.poll_shutdown(cx)).map_err(FlowError::Write)?;
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}
