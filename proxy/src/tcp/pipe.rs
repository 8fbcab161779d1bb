//! Pipes, through which the kernel moves bytes from socket to socket without copying them (splice(2)).
//!
//! A worker has a bounded number of them, lent to directions that carry much. A pipe that still holds bytes when it is
//! dropped is closed, since whoever took it next would send them.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::net::TcpStream;

use super::half::Moved;

/// Bytes asked of a socket at once, and of a pipe to hold, which is 64 pages.
const SIZE: usize = 256 * 1024;

/// Free pipes that a worker keeps: each holds two descriptors and no bytes.
const KEEP: usize = 16;

/// The pipes of one worker.
pub(crate) struct PipePool {
    free: RefCell<Vec<Ends>>,
    /// Free and lent ones.
    open: Cell<usize>,
    most: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl PipePool {
    /// At most so many at a time.
    pub(crate) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self {
            free: RefCell::default(),
            open: Cell::new(0),
            most,
        })
    }

    /// An empty pipe; `None` where all are lent, or the process can have no more.
    pub(super) fn take(self: &Rc<Self>) -> Option<Pipe> {
        let free = self.free.borrow_mut().pop();
        let ends = match free {
            Some(ends) => ends,
            None if self.open.get() >= self.most => return None,
            None => {
                let ends = Ends::open().ok()?;
                self.open.set(self.open.get() + 1);
                ends
            }
        };
        Some(Pipe {
            ends: Some(ends),
            held: 0,
            home: Rc::clone(self),
        })
    }

    fn give_back(&self, ends: Ends, held: usize) {
        let mut free = self.free.borrow_mut();
        if held == 0 && free.len() < KEEP {
            free.push(ends);
        } else {
            self.open.set(self.open.get().saturating_sub(1));
        }
    }

    /// Closes half of the free pipes; called now and then, so that a burst does not keep its descriptors forever.
    pub(crate) fn shrink(&self) {
        let mut free = self.free.borrow_mut();
        let keep = free.len() / 2;
        self.open.set(self.open.get() - (free.len() - keep));
        free.truncate(keep);
    }
}

impl Ends {
    fn open() -> Result<Self, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user who may not have larger ones keeps what the kernel gave: less is moved at once.
        let _ = fcntl_setpipe_size(&write, SIZE);
        Ok(Self { read, write })
    }
}

/// A pipe lent to one direction.
pub(super) struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    held: usize,
    home: Rc<PipePool>,
}

impl Pipe {
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what the socket has into the pipe, which must be empty, so that a call that would block speaks of the
    /// socket. No bytes are the socket's end.
    pub(super) fn fill(&mut self, from: &TcpStream) -> Result<Moved, Errno> {
        let Some(ends) = &self.ends else {
            return Err(Errno::BADF);
        };
        debug_assert!(self.is_empty(), "a pipe is filled when it is empty");
        let bytes = splice(from, None, &ends.write, None, SIZE, SpliceFlags::NONBLOCK)?;
        self.held += bytes;
        // Less than was asked may be a pipe whose pages are all in use.
        Ok(Moved {
            bytes,
            is_last: false,
        })
    }

    /// Moves what the pipe holds into the socket.
    pub(super) fn drain(&mut self, to: &TcpStream) -> Result<Moved, Errno> {
        let Some(ends) = &self.ends else {
            return Err(Errno::BADF);
        };
        let bytes = splice(&ends.read, None, to, None, self.held, SpliceFlags::NONBLOCK)?;
        self.held = self.held.saturating_sub(bytes);
        Ok(Moved {
            bytes,
            is_last: false,
        })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take() {
            self.home.give_back(ends, self.held);
        }
    }
}

/// Whether the kernel says that it does not splice such a thing, or may not for us, rather than that a socket failed.
pub(super) fn is_refusal(error: Errno) -> bool {
    matches!(
        error,
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS
    )
}

#[cfg(test)]
mod tests;
