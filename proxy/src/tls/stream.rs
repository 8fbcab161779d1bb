//! A TLS connection that is up: plaintext on one side, records on a socket on the other.
//!
//! A thin wrapper of a rustls session, written for what a worker does: one task polls a connection, buffers are the
//! caller's, and a connection that waits holds next to nothing.
//!
//! # Reading
//! Records are decrypted when [`TlsStream::poll_read_ready`] or [`TlsStream::poll_read`] is called, whichever comes
//! first, so to be ready means that there is plaintext, the end or an error; a ticket, a key update or half a record
//! wakes nobody up. Ciphertext is read into a buffer that all connections of a thread share, as much at a time as there is
//! room for in the caller's buffer, so what is left over is at most one record.
//!
//! `close_notify` is the end, like the end of a plain connection. An end without it is an error of kind
//! [`io::ErrorKind::UnexpectedEof`]: somebody on the way may have cut the connection, and a body that lasts to the end
//! of its connection must not be taken for whole (RFC 8446, section 6.1).
//!
//! # Writing
//! [`TlsStream::poll_write_vectored`] takes plaintext, encrypts it, and writes the records at once. Where the socket does
//! not take all of them, the rest is kept, and no more plaintext is taken until it is gone: at most
//! [`MAX_PENDING`] bytes and the records' own overhead are kept. That rest is written by whatever is polled next: a write, a
//! flush, a shutdown or a read. Who has written and then waits for something else alone must flush first, as
//! [`TlsStream::has_pending`] tells.
//!
//! Tickets and answers to key updates go out with the next data, or with the next read that has to wait.
//!
//! Dropping a connection sends no `close_notify`: that is how a peer learns that what it received is not whole. One that
//! ends in order is shut down by [`TlsStream::poll_shutdown`].

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::handshake::write_all;
use super::info::TlsInfo;
use super::socket::{Now, Socket};

/// Plaintext taken in one write, and thereby what may be kept for a peer that reads slowly: four full records.
pub(crate) const MAX_PENDING: usize = 64 * 1024;

/// Ciphertext read in one call: four full records, too.
const SCRATCH: usize = 66 * 1024;

/// Into less room than this, ciphertext is read by rustls itself, which asks for 4 KiB at a time.
const LARGE: usize = 8 * 1024;

thread_local! {
    /// Ciphertext on its way from a socket to its session; of nobody between two polls.
    static CIPHERTEXT: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A TLS connection, of either side, after its handshake.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    /// Large, so that the stream is cheap to move.
    session: Box<Session>,
}

struct Session {
    connection: Connection,
    info: Arc<TlsInfo>,
    /// The socket has not taken all there was to write.
    blocked: bool,
    /// `close_notify` has been sent, or is to be.
    shut: bool,
    /// What the peer sent is not TLS, or is a fatal alert.
    failed: bool,
}

impl TlsStream {
    /// A connection whose handshake is done. What it has not sent yet is sent as the module says.
    pub(super) fn new(tcp: TcpStream, mut connection: Connection, info: TlsInfo) -> Self {
        connection.set_buffer_limit(Some(MAX_PENDING));
        let session = Session {
            connection,
            info: Arc::new(info),
            blocked: false,
            shut: false,
            failed: false,
        };
        Self {
            tcp,
            session: Box::new(session),
        }
    }

    #[cfg(test)]
    pub(super) fn into_connection(self) -> Connection {
        self.session.connection
    }

    pub(crate) fn info(&self) -> &Arc<TlsInfo> {
        &self.session.info
    }

    /// The socket below, for its addresses and options.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether something is to be written that the socket has not taken yet.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.session.connection.wants_write()
    }

    /// Ready when [`Self::poll_read`] has something to tell: plaintext, the end or an error. Needs no buffer.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_take(cx, &mut ReadBuf::new(&mut [])) {
            // It is found again by the read that follows.
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads plaintext; nothing added to a buffer that has room is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match buf.remaining() {
            0 => Poll::Ready(Ok(())),
            _ => self.poll_take(cx, buf),
        }
    }

    /// Takes as much plaintext as there is room for; without room, waits for there to be some.
    fn poll_take(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.session.blocked {
            // What is wrong with writing is told to who writes.
            let _ = self.poll_flush(cx);
        }
        let before = buf.filled().len();
        loop {
            match self.session.take(buf) {
                // Some may have been taken as it came.
                Ok(false) if buf.filled().len() == before => {}
                Err(error) if buf.filled().len() == before => return Poll::Ready(Err(error)),
                _ => return Poll::Ready(Ok(())),
            }
            match self.receive(cx, buf) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.has_pending() {
                        let _ = self.poll_flush(cx);
                    }
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if self.session.failed {
                // The alert that tells the peer why, if the socket takes it at once.
                let _ = self.poll_flush(cx);
            }
        }
    }

    /// Reads from the socket once and gives what came to the session.
    fn receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let Self { tcp, session } = self;
        let mut socket = Socket { tcp, cx };
        if buf.remaining() < LARGE {
            return session.read(&mut socket).map(drop);
        }
        CIPHERTEXT.with_borrow_mut(|scratch| {
            let size = buf.remaining().min(scratch.len());
            let read = socket.read(&mut scratch[..size])?;
            session.feed(&scratch[..read], buf)
        })
    }

    /// Takes plaintext, as few records as it fits in, and writes them. Pending only if nothing was taken; once `n` bytes were
    /// taken they are on their way, as the module says.
    ///
    /// # Errors
    /// The connection is shut down, or the socket refuses.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Else what waits is small, and goes together with what is written now.
        if self.session.blocked {
            std::task::ready!(self.poll_flush(cx))?;
        }
        let taken = self.session.encrypt(bufs)?;
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Writes what has been taken.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, session } = self;
        let written = write_all(&mut Socket { tcp, cx }, &mut session.connection);
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                session.blocked = true;
                Poll::Pending
            }
            other => {
                session.blocked = false;
                Poll::Ready(other)
            }
        }
    }

    /// Says that nothing more will be written, after what has been taken. Reading goes on.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.session.shut {
            self.session.shut = true;
            self.session.connection.send_close_notify();
        }
        std::task::ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// Whether a connection that nobody uses may be used again: the peer has sent nothing but tickets and key updates.
    /// Does not wait, and costs no system call unless something came.
    pub(crate) fn idle_is_clean(&mut self) -> bool {
        let mut nothing = ReadBuf::new(&mut []);
        loop {
            // What already waits is as unasked as what comes.
            if !matches!(self.session.take(&mut nothing), Ok(false)) {
                return false;
            }
            match self.session.read(&mut Now(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let mut nobody = Context::from_waker(Waker::noop());
        !self.session.blocked || matches!(self.poll_flush(&mut nobody), Poll::Ready(Ok(())))
    }
}

impl Session {
    /// Moves plaintext to the buffer; whether there was any, or the end. Without room, whether there is any.
    fn take(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let mut reader = self.connection.reader();
        let mut some = false;
        loop {
            let chunk = match reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(_) if some => return Ok(true),
                Err(_) if self.failed => return Err(self.failure()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            some = true;
            let count = chunk.len().min(buf.remaining());
            if count == 0 {
                return Ok(true);
            }
            buf.put_slice(&chunk[..count]);
            reader.consume(count);
        }
    }

    /// The error that ended the session; rustls tells it as often as it is asked.
    #[cold]
    fn failure(&mut self) -> io::Error {
        match self.connection.process_new_packets() {
            Err(error) => io::Error::new(io::ErrorKind::InvalidData, error),
            Ok(_) => io::ErrorKind::InvalidData.into(),
        }
    }

    /// Reads ciphertext and decrypts it; nothing read is the end of the socket, or of what is listened to.
    fn read(&mut self, from: &mut dyn Read) -> io::Result<usize> {
        let read = self.connection.read_tls(from)?;
        self.failed |= self.connection.process_new_packets().is_err();
        Ok(read)
    }

    /// Decrypts, and moves plaintext to the buffer as it comes. All of it finds room: plaintext is no longer than its
    /// ciphertext, which is no longer than the buffer, but for one record that began earlier, and that much rustls keeps.
    fn feed(&mut self, mut ciphertext: &[u8], buf: &mut ReadBuf<'_>) -> io::Result<()> {
        loop {
            let read = self.read(&mut ciphertext)?;
            // Behind a `close_notify` nothing is taken any more.
            if ciphertext.is_empty() || read == 0 || self.failed {
                return Ok(());
            }
            // An error is found again by who asks next.
            let _ = self.take(buf);
        }
    }

    /// Takes plaintext; how much of it.
    fn encrypt(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut some = bufs.iter().filter(|buf| !buf.is_empty());
        let Some(first) = some.next() else {
            return Ok(0);
        };
        let mut writer = self.connection.writer();
        let taken = match some.next() {
            None => writer.write(first)?,
            Some(_) => writer.write_vectored(bufs)?,
        };
        match taken {
            // Keys that may not be used any more, and a peer too old to agree on new ones.
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            some => Ok(some),
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
