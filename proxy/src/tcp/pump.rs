//! One direction of a stream, from socket to socket.
//!
//! It holds at most one buffer, and reads again only when what it has is written: a reader that is slow holds the
//! writer back, and memory does not grow. A pump that waits with nothing to write holds no buffer; one whose
//! reads fill a small buffer goes on with a large one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::buffer::{Buffer, BufferPool};
use crate::http::h1::flow::poll_read;
use crate::listener::proxy_protocol::{self, Start};

/// Reads in one turn before other connections get theirs: about a quarter of a MiB.
const READS_PER_TURN: u32 = 4;

/// Why a direction ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Read,
    Write,
    /// It starts with a PROXY header that its sender may not send.
    Forged,
}

/// One direction.
pub(super) struct Pump {
    buffer: Buffer,
    /// Written first; not part of what the sender sent.
    front: Vec<u8>,
    front_at: usize,
    /// The first bytes are held until they are known not to be a PROXY header.
    guarded: bool,
    state: State,
    /// Bytes of the sender read so far.
    pub(super) moved: u64,
    pool: Rc<BufferPool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has ended; that is to be told when everything is written.
    Ended,
    Shut,
}

impl Pump {
    /// A direction of which `buffer` was read already.
    pub(super) fn new(
        buffer: Buffer,
        front: Vec<u8>,
        guarded: bool,
        pool: &Rc<BufferPool>,
    ) -> Self {
        Self {
            moved: buffer.len() as u64,
            buffer,
            front,
            front_at: 0,
            guarded,
            state: State::Open,
            pool: Rc::clone(pool),
        }
    }

    /// Moves what can be moved. Ready once the sender's end has been passed on.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), Broken>> {
        let mut reads = 0;
        loop {
            if self.guarded {
                self.check_start()?;
            }
            ready!(self.poll_write(cx, to)).map_err(|_| Broken::Write)?;
            match self.state {
                State::Shut => return Poll::Ready(Ok(())),
                State::Ended if !self.guarded => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Broken::Write)?;
                    self.state = State::Shut;
                    return Poll::Ready(Ok(()));
                }
                // What was held is no header, for there will be no more of it.
                State::Ended => {
                    self.guarded = false;
                    continue;
                }
                State::Open => {}
            }
            if reads == READS_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            reads += 1;
            let read = ready!(poll_read(cx, from, &mut self.buffer, &self.pool))
                .map_err(|_| Broken::Read)?;
            self.moved += read as u64;
            if read == 0 {
                self.state = State::Ended;
            }
        }
    }

    fn check_start(&mut self) -> Result<(), Broken> {
        match proxy_protocol::read(&self.buffer) {
            Ok(Start::Other) => self.guarded = false,
            // A signature is enough of a header; less may still become anything.
            Ok(Start::Partial) if self.buffer.len() < proxy_protocol::SIGNATURE_LEN => {}
            Ok(Start::Partial | Start::Header(_)) | Err(_) => return Err(Broken::Forged),
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Poll<io::Result<()>> {
        while self.front_at < self.front.len() {
            let held: &[u8] = if self.guarded { b"" } else { &self.buffer };
            let parts = [
                IoSlice::new(&self.front[self.front_at..]),
                IoSlice::new(held),
            ];
            let written = ready!(Pin::new(&mut *to).poll_write_vectored(cx, &parts))?;
            let front = written.min(self.front.len() - self.front_at);
            self.front_at += front;
            self.buffer.consume(written - front);
            if self.front_at == self.front.len() {
                self.front = Vec::new();
                self.front_at = 0;
            }
        }
        while !self.guarded && !self.buffer.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.consume(written);
        }
        Poll::Ready(Ok(()))
    }
}
