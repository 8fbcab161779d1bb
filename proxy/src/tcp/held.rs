//! What one direction has read and not written yet: bytes in a buffer, or in a pipe.
//!
//! Where reads come full one after another, the stream is a long one, and goes on through a pipe (`pipe.rs`): its bytes
//! never enter this process. The buffer is empty whenever the pipe is filled, and the pipe whenever the buffer is, so
//! that changing from one to the other loses nothing and changes no order.

use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::net::TcpStream;

use super::half::Moved;
use super::pipe::{Pipe, PipePool, is_refusal};
use crate::buffer::{Buffer, BufferPool, LARGE, SMALL};

/// Bytes of large reads after which a stream is a long one. A pipe costs a call more for each read, and saves two copies.
const LONG: usize = 256 * 1024;

/// What the directions of a worker borrow from.
#[derive(Clone)]
pub(super) struct Pools {
    pub(super) buffers: Rc<BufferPool>,
    pub(super) pipes: Rc<PipePool>,
}

/// Bytes on their way, in one place at a time.
pub(super) struct Held {
    pub(super) buffer: Buffer,
    pipe: Option<Pipe>,
    /// Bytes that came in large reads lately, at most twice [`LONG`]; a smaller read halves them.
    run: usize,
    /// The kernel does not splice these sockets.
    only_copies: bool,
    pools: Pools,
}

impl Held {
    pub(super) fn new(pools: &Pools) -> Self {
        Self {
            buffer: pools.buffers.none(),
            pipe: None,
            run: 0,
            only_copies: false,
            pools: pools.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Reads once; no bytes are the sender's end. A buffer or a pipe is taken now, when there is something to hold.
    pub(super) fn fill(&mut self, from: &TcpStream) -> Result<Moved, Errno> {
        let moved = match self.splice(from) {
            Some(spliced) => spliced,
            None => self.copy(from),
        }?;
        self.run = match moved.bytes {
            SMALL.. => (self.run + moved.bytes).min(2 * LONG),
            _ => self.run / 2,
        };
        Ok(moved)
    }

    /// `None`: not by a pipe.
    fn splice(&mut self, from: &TcpStream) -> Option<Result<Moved, Errno>> {
        if self.run < LONG || self.only_copies || !self.buffer.is_empty() {
            return None;
        }
        if self.pipe.is_none() {
            self.pipe = self.pools.pipes.take();
        }
        let filled = self.pipe.as_mut()?.fill(from);
        if filled.is_err_and(is_refusal) {
            self.only_copies = true;
            self.pipe = None;
            return None;
        }
        if self.buffer.capacity() > 0 {
            self.buffer = self.pools.buffers.none();
        }
        Some(filled)
    }

    fn copy(&mut self, from: &TcpStream) -> Result<Moved, Errno> {
        let size = if self.run < SMALL { SMALL } else { LARGE };
        if self.buffer.is_empty() && self.buffer.capacity() < size {
            self.buffer = match size {
                SMALL => self.pools.buffers.small(),
                _ => self.pools.buffers.large(),
            };
        }
        let spare = self.buffer.spare_mut();
        let room = spare.len();
        let (_, bytes) = rustix::net::recv(from, spare, RecvFlags::empty())?;
        self.buffer.advance(bytes);
        Ok(Moved {
            bytes,
            is_last: 0 < bytes && bytes < room,
        })
    }

    /// Writes once.
    pub(super) fn drain(&mut self, to: &TcpStream) -> Result<Moved, Errno> {
        if let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            return pipe.drain(to);
        }
        let bytes = rustix::net::send(to, &self.buffer, SendFlags::NOSIGNAL)?;
        let is_last = bytes < self.buffer.len();
        self.buffer.consume(bytes);
        Ok(Moved { bytes, is_last })
    }

    /// Gives back what holds nothing, for a wait of unknown length.
    pub(super) fn rest(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = self.pools.buffers.none();
        }
        if self.pipe.as_ref().is_some_and(Pipe::is_empty) {
            self.pipe = None;
        }
    }
}

#[cfg(test)]
mod tests;
