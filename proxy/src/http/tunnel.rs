//! Tunnels: bytes both ways after an upgrade, each side's end passed on by itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::h1::flow::{Encoding, Flow, FlowError};
use super::h1::head::Framing;
use super::h1::serve::Connection;
use crate::buffer::Buffer;
use crate::upstream::pool::Lease;

/// Bytes that a tunnel carried.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Carried {
    pub(crate) up: u64,
    pub(crate) down: u64,
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
    let pool = conn.worker.buffers.clone();
    let (mut client_read, mut client_write) = conn.stream.split();
    let (mut origin_read, mut origin_write) = upstream.stream.split();
    let mut up = Side::new(Flow::new(
        Vec::new(),
        held,
        Framing::Close,
        Encoding::Identity,
        &pool,
    ));
    let mut down = Side::new(Flow::new(
        front,
        early,
        Framing::Close,
        Encoding::Identity,
        &pool,
    ));
    let timers = conn.worker.timers.clone();
    conn.alarm.set(timers.now() + idle_ms);
    let mut moved = 0;
    let alarm = &conn.alarm;
    let both = alarm.watch(|cx| {
        let sent = up.poll(cx, &mut client_read, &mut origin_write);
        let got = down.poll(cx, &mut origin_read, &mut client_write);
        let total = up.flow.moved + down.flow.moved;
        if total != moved {
            moved = total;
            alarm.set(timers.now() + idle_ms);
        }
        match (sent, got) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    });
    if let Ok(Err(error)) = both.await {
        tracing::debug!(%error, "a tunnel ended early");
    }
    Carried {
        up: up.flow.moved,
        down: down.flow.moved,
    }
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
        std::task::ready!(Pin::new(to).poll_shutdown(cx)).map_err(FlowError::Write)?;
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}
