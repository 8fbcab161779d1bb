//! One direction of a stream, from socket to socket.
//!
//! It holds at most one buffer or one pipe, and reads again only when what it has is written: a reader that is slow holds
//! the writer back, and memory does not grow. A pump that waits with nothing to write holds neither.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::net::Shutdown;
use tokio::net::TcpStream;

use super::half::{Half, Moved};
use super::held::{Held, Pools};
use crate::buffer::Buffer;
use crate::listener::proxy_protocol::{self, Start};

/// Bytes read in one turn before other connections get theirs. Reads that are not full end a turn sooner.
const TURN: usize = 256 * 1024;

/// Why a direction ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Read,
    Write,
    /// It starts with a PROXY header that its sender may not send.
    Forged,
}

/// One direction.
pub(super) struct Pump<'a> {
    from: Half<'a>,
    to: Half<'a>,
    held: Held,
    /// Written first; not part of what the sender sent.
    front: Vec<u8>,
    front_at: usize,
    /// The first bytes are held until they are known not to be a PROXY header.
    guarded: bool,
    state: State,
    /// Bytes of the sender read so far.
    pub(super) moved: u64,
    /// Bytes written so far.
    written: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has ended; that is to be told when everything is written.
    Ended,
    Shut,
}

impl<'a> Pump<'a> {
    /// A direction that has read nothing yet.
    pub(super) fn new(from: &'a TcpStream, to: &'a TcpStream, pools: &Pools) -> Self {
        Self {
            from: Half::read(from),
            to: Half::write(to),
            held: Held::new(pools),
            front: Vec::new(),
            front_at: 0,
            guarded: false,
            state: State::Open,
            moved: 0,
            written: 0,
        }
    }

    /// What is to be said first, and what was read of the sender already.
    pub(super) fn starting_with(mut self, front: Vec<u8>, read: Buffer, guarded: bool) -> Self {
        self.moved = read.len() as u64;
        self.held.buffer = read;
        self.front = front;
        self.guarded = guarded;
        self
    }

    /// Grows with each byte that is read or written.
    pub(super) fn progress(&self) -> u64 {
        self.moved + self.written
    }

    /// Moves what can be moved. Ready once the sender's end has been passed on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut taken = 0;
        loop {
            if self.guarded {
                self.check_start()?;
            }
            ready!(self.poll_write(cx)).map_err(|_| Broken::Write)?;
            match self.state {
                State::Shut => return Poll::Ready(Ok(())),
                State::Ended if !self.guarded => {
                    self.held.rest();
                    rustix::net::shutdown(self.to.stream, Shutdown::Write)
                        .map_err(|_| Broken::Write)?;
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
            if taken >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Poll::Ready(read) = self.from.poll(cx, |from| self.held.fill(from)) else {
                self.held.rest();
                return Poll::Pending;
            };
            let read = read.map_err(|_| Broken::Read)?;
            self.moved += read as u64;
            taken += read;
            if read == 0 {
                self.state = State::Ended;
            }
        }
    }

    fn check_start(&mut self) -> Result<(), Broken> {
        match proxy_protocol::read(&self.held.buffer) {
            Ok(Start::Other) => self.guarded = false,
            // A signature is enough of a header; less may still become anything.
            Ok(Start::Partial) if self.held.buffer.len() < proxy_protocol::SIGNATURE_LEN => {}
            Ok(Start::Partial | Start::Header(_)) | Err(_) => return Err(Broken::Forged),
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.front.is_empty() {
            ready!(self.poll_write_front(cx))?;
        }
        while !self.guarded && !self.held.is_empty() {
            match ready!(self.to.poll(cx, |to| self.held.drain(to)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written as u64,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// With what follows it, so that both leave in one segment.
    fn poll_write_front(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(front) = self.front.get(self.front_at..).filter(|f| !f.is_empty()) {
            let held: &[u8] = if self.guarded { b"" } else { &self.held.buffer };
            let parts = [IoSlice::new(front), IoSlice::new(held)];
            let written = ready!(self.to.poll(cx, |to| {
                let bytes = rustix::io::writev(to, &parts)?;
                Ok(Moved {
                    bytes,
                    is_last: false,
                })
            }))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_front = written.min(front.len());
            self.front_at += of_front;
            self.held.buffer.consume(written - of_front);
            self.written += written as u64;
        }
        self.front = Vec::new();
        Poll::Ready(Ok(()))
    }
}
