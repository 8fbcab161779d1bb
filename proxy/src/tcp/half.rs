//! One way of one socket, as one direction of a stream uses it.
//!
//! tokio's own reads and writes register the task anew at every turn. A stream's task is woken for one direction and
//! looks at both, so here a half remembers that it has been registered and costs one load until its socket has something.
//! That holds only as long as the same task asks, which is why a half lives within one relay.

use std::io;
use std::task::{Context, Poll};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop;

/// The half of a socket that is read, or the one that is written.
pub(super) struct Half<'a> {
    pub(super) stream: &'a TcpStream,
    way: Way,
    /// The driver will wake the task.
    registered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// What one call moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) bytes: usize,
    /// The socket has no more to give, or takes no more: the next call would say so.
    pub(super) is_last: bool,
}

impl<'a> Half<'a> {
    pub(super) fn read(stream: &'a TcpStream) -> Self {
        Self::new(stream, Way::Read)
    }

    pub(super) fn write(stream: &'a TcpStream) -> Self {
        Self::new(stream, Way::Write)
    }

    fn new(stream: &'a TcpStream, way: Way) -> Self {
        Self {
            stream,
            way,
            registered: false,
        }
    }

    /// Calls when the socket may have something to give or room to take, and gives the number of bytes moved.
    ///
    /// # Errors
    /// What the call says, but that it would block.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&TcpStream) -> Result<Moved, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut moved = None;
            // To say that it would block is how a caller tells the driver that there is no more for now.
            let tried = self.stream.try_io(self.interest(), || {
                self.registered = false;
                let done = call(self.stream)?;
                moved = Some(done.bytes);
                match done.is_last {
                    true => Err(io::ErrorKind::WouldBlock.into()),
                    false => Ok(()),
                }
            });
            if let Some(bytes) = moved {
                return Poll::Ready(Ok(bytes));
            }
            match tried {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            }
            if self.registered {
                return Poll::Pending;
            }
            match self.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // A task that has used its turn up is sent away unregistered.
                    self.registered = coop::has_budget_remaining();
                    return Poll::Pending;
                }
            }
        }
    }

    fn interest(&self) -> Interest {
        match self.way {
            Way::Read => Interest::READABLE,
            Way::Write => Interest::WRITABLE,
        }
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.way {
            Way::Read => self.stream.poll_read_ready(cx),
            Way::Write => self.stream.poll_write_ready(cx),
        }
    }
}
