//! The socket below a connection of HTTP/2, with an eye on the frames that come.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pulse::Pulse;
use super::watch::Watch;
use crate::buffer::Buffer;
use crate::socket::{Socket, Source as _};

/// A socket that gives what was read of it before first.
pub(crate) struct Io {
    socket: Socket,
    early: Option<Buffer>,
    eye: Eye,
}

/// Who looks at what comes.
enum Eye {
    /// A client's frames are counted.
    Client(Rc<Watch>),
    /// An endpoint's are signs of life.
    Endpoint(Rc<Pulse>),
}

impl Io {
    /// Towards a client.
    pub(super) fn of_client(socket: Socket, early: Option<Buffer>, watch: Rc<Watch>) -> Self {
        Self {
            socket,
            early,
            eye: Eye::Client(watch),
        }
    }

    /// Towards an endpoint, and what tells how it is.
    pub(crate) fn of_endpoint(socket: Socket) -> (Self, Rc<Pulse>) {
        let pulse = Rc::<Pulse>::default();
        let io = Self {
            socket,
            early: None,
            eye: Eye::Endpoint(Rc::clone(&pulse)),
        };
        (io, pulse)
    }

    /// An error where the endpoint was found to be gone, so that all its streams learn of it.
    fn check(&self) -> io::Result<()> {
        match &self.eye {
            Eye::Endpoint(pulse) if pulse.is_lost() => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.eye {
            Eye::Client(watch) => Some(watch),
            Eye::Endpoint(_) => None,
        }
    }

    /// The socket takes nothing.
    #[cold]
    fn clogged<T>(&mut self) -> Poll<T> {
        if let Eye::Client(watch) = &self.eye {
            watch.clogged(|| self.socket.unacknowledged());
        }
        Poll::Pending
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if self.watch().is_some_and(Watch::is_cut_off) {
            self.socket.cut_off();
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Who is about to be sent away is not listened to any longer.
        if this.watch().is_some_and(|watch| watch.broken().is_some()) {
            return Poll::Pending;
        }
        let before = into.filled().len();
        match &mut this.early {
            Some(early) => {
                let count = early.len().min(into.remaining());
                into.put_slice(&early[..count]);
                early.consume(count);
                if early.is_empty() {
                    this.early = None;
                }
            }
            None => {
                this.check()?;
                std::task::ready!(this.socket.split().0.poll_read(cx, into))?;
            }
        }
        let came = before..into.filled().len();
        match &this.eye {
            Eye::Client(watch) => {
                let good = watch.see(&mut into.filled_mut()[came]);
                if watch.broken().is_some() {
                    into.set_filled(before + good);
                    // Nothing read would be the end.
                    if good == 0 {
                        return Poll::Pending;
                    }
                }
            }
            Eye::Endpoint(pulse) => pulse.see(&into.filled()[came]),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let (_, mut to) = self.socket.split();
        // Nearly always there is room, and to find out at once spares a look at the driver.
        let written = match to.try_write_vectored(parts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match to.poll_write_vectored(cx, parts, false) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => return self.clogged(),
                }
            }
            at_once => at_once?,
        };
        if let Some(watch) = self.watch() {
            watch.wrote(written);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.split().1.poll_flush(cx) {
            Poll::Pending => self.clogged(),
            flushed => {
                if let Some(watch) = self.watch() {
                    watch.flushed();
                }
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.split().1.poll_shutdown(cx)
    }
}
