//! What bytes are read from and written to: a TCP connection, TLS over one, or one stream of HTTP/2.
//!
//! The request path is written against [`ReadHalf`] and [`WriteHalf`], so that it is one path whatever either side
//! speaks. Which of the three it is, is looked at per call: a branch that goes the same way for as long as a
//! connection lives costs less than a path for each pair.
//!
//! A stream of HTTP/2 differs in two things. Its head is no bytes in front of the body, so a writer
//! [starts](WriteHalf::poll_start) and [ends](WriteHalf::poll_end) it; and what its reader meets at the end may be
//! [trailers](ReadHalf::trailers). For the others, starting and ending is nothing.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};

use crate::http::h2::exchange::{Exchange, Receiver, Sender};
use crate::tls::{TlsInfo, TlsStream};

/// One end of what is carried.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<RefCell<TlsStream>>),
    /// One stream among those of a connection.
    H2(Box<Exchange>),
}

/// Where bytes come from.
pub(crate) enum ReadHalf<'a> {
    Plain(tcp::ReadHalf<'a>),
    Tls(&'a RefCell<TlsStream>),
    H2(&'a mut Receiver),
}

/// Where bytes go.
pub(crate) enum WriteHalf<'a> {
    Plain(tcp::WriteHalf<'a>),
    Tls(&'a RefCell<TlsStream>),
    H2(&'a mut Sender),
}

impl Socket {
    pub(crate) fn tls(stream: TlsStream) -> Self {
        Self::Tls(Box::new(RefCell::new(stream)))
    }

    #[inline]
    pub(crate) fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(stream) => {
                let (from, to) = stream.split();
                (ReadHalf::Plain(from), WriteHalf::Plain(to))
            }
            Self::Tls(stream) => (ReadHalf::Tls(stream), WriteHalf::Tls(stream)),
            Self::H2(exchange) => {
                let (from, to) = exchange.split();
                (ReadHalf::H2(from), WriteHalf::H2(to))
            }
        }
    }

    /// What its handshake settled; `None` in plain text.
    pub(crate) fn tls_info(&self) -> Option<Arc<TlsInfo>> {
        match self {
            Self::Plain(_) | Self::H2(_) => None,
            Self::Tls(stream) => Some(Arc::clone(stream.borrow().info())),
        }
    }

    /// The address that the peer connected to; `None` of a stream, and where nobody knows.
    pub(crate) fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr().ok(),
            Self::Tls(stream) => stream.borrow().tcp().local_addr().ok(),
            Self::H2(_) => None,
        }
    }

    /// Whether it is a stream of HTTP/2, whose heads and ends are frames of their own.
    #[inline]
    pub(crate) fn is_h2(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Whether it is a stream of which nothing was answered yet.
    pub(crate) fn is_unanswered(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Tls(_) => false,
            Self::H2(exchange) => exchange.is_unstarted(),
        }
    }

    /// Whether it is a stream whose peer has ended its side.
    pub(crate) fn is_drained(&mut self) -> bool {
        match self {
            Self::Plain(_) | Self::Tls(_) => false,
            Self::H2(exchange) => exchange.split().0.is_empty(),
        }
    }

    /// Whether an idle connection is still open as far as anybody has told us, and nothing came on it unasked. Costs no
    /// syscall unless the driver saw something happen.
    pub(crate) fn is_clean(&mut self) -> bool {
        match self {
            Self::Plain(stream) => matches!(
                stream.try_read(&mut [0u8; 1]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            ),
            Self::Tls(stream) => stream.get_mut().idle_is_clean(),
            // These do not wait in a pool one by one.
            Self::H2(_) => false,
        }
    }

    /// Makes the end visible as a broken one: what was sent is not whole.
    pub(crate) fn break_off(&mut self) {
        match self {
            // An orderly end would make a body that ends with its connection look whole.
            Self::Plain(stream) => drop(stream.set_zero_linger()),
            // Without a close_notify the end is a broken one.
            Self::Tls(_) => {}
            Self::H2(exchange) => exchange.reset(),
        }
    }

    /// The same where the peer does not read: what it has not taken is thrown away with the connection, instead of waiting in
    /// the kernel for it.
    pub(crate) fn cut_off(&mut self) {
        self.break_off();
        if let Self::Tls(stream) = self {
            drop(stream.get_mut().tcp().set_zero_linger());
        }
    }

    /// Bytes that the peer has not acknowledged; `None` of a stream, and where nobody knows.
    pub(crate) fn unacknowledged(&mut self) -> Option<usize> {
        self.split().1.unacknowledged()
    }

    /// Tells the client of a stream that its request was not looked at (RFC 9113, section 8.7).
    pub(crate) fn refuse(&mut self) {
        if let Self::H2(exchange) = self {
            exchange.reset_with(h2::Reason::REFUSED_STREAM);
        }
    }

    /// Ready when the other side is known to have gone for good. A closed side that still reads is not gone (RFC 9112,
    /// section 9.6).
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let tcp = match self {
            Self::Plain(stream) => &*stream,
            Self::Tls(stream) => stream.get_mut().tcp(),
            Self::H2(exchange) => return exchange.split().1.poll_gone(cx),
        };
        match tcp.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// What can be read from once it is known to have something.
pub(crate) trait Source {
    /// Ready when there is something to read, without a buffer to read into.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads once; nothing read is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
}

impl Source for tcp::ReadHalf<'_> {
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_ref().poll_read_ready(cx)
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, into)
    }
}

impl Source for ReadHalf<'_> {
    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(from) => from.poll_ready(cx),
            other => other.poll_ready_layered(cx),
        }
    }

    #[inline(always)]
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(from) => Pin::new(from).poll_read(cx, into),
            other => other.poll_read_layered(cx, into),
        }
    }
}

impl ReadHalf<'_> {
    // What is more than a socket is looked after apart, so that the plain way stays short wherever it is taken.
    #[inline(never)]
    fn poll_ready_layered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(from) => from.poll_ready(cx),
            Self::Tls(stream) => stream.borrow_mut().poll_read_ready(cx),
            Self::H2(receiver) => receiver.poll_ready(cx),
        }
    }

    #[inline(never)]
    fn poll_read_layered(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(from) => Pin::new(from).poll_read(cx, into),
            Self::Tls(stream) => stream.borrow_mut().poll_read(cx, into),
            Self::H2(receiver) => receiver.poll_read(cx, into),
        }
    }

    /// Whether the end is known to have come with what was read last, so that both can go on together.
    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Tls(_) => false,
            Self::H2(receiver) => receiver.is_at_end(),
        }
    }

    /// Takes what has come on a stream of HTTP/2 off its connection, for a reader that cannot have it yet.
    #[inline]
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) {
        if let Self::H2(receiver) = self {
            receiver.gather(cx);
        }
    }

    /// The trailers that came with the end: whole lines.
    pub(crate) fn trailers(&mut self) -> Option<Box<[u8]>> {
        match self {
            Self::Plain(_) | Self::Tls(_) => None,
            Self::H2(receiver) => receiver.take_trailers(),
        }
    }
}

/// Bytes up to which what is in pieces is written as one.
const GATHERED: usize = 512;

/// To write one piece costs the kernel less than to write a vector of one or two, some 160 ns of the 3.9 us that a small write
/// takes over loopback; so what is short is put together first.
fn write_at_once(to: &tcp::WriteHalf<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    if let [piece] = parts {
        return to.try_write(piece);
    }
    let (mut piece, mut len) = ([0; GATHERED], 0);
    for part in parts {
        let Some(room) = piece.get_mut(len..len + part.len()) else {
            return to.try_write_vectored(parts);
        };
        room.copy_from_slice(part);
        len += part.len();
    }
    to.try_write(&piece[..len])
}

#[inline(never)]
fn flush_tls(stream: &RefCell<TlsStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut stream = stream.borrow_mut();
    match stream.has_pending() {
        true => stream.poll_flush(cx),
        false => Poll::Ready(Ok(())),
    }
}

impl WriteHalf<'_> {
    /// Writes what there is room for, if that can be told without a look at the driver.
    #[inline]
    pub(crate) fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => write_at_once(to, parts),
            Self::Tls(_) | Self::H2(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes what there is room for. `last`: the message ends with it, if all of it is written.
    #[inline]
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(to) => Pin::new(to).poll_write_vectored(cx, parts),
            other => other.poll_write_layered(cx, parts, last),
        }
    }

    #[inline(never)]
    fn poll_write_layered(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(to) => Pin::new(to).poll_write_vectored(cx, parts),
            Self::Tls(stream) => stream.borrow_mut().poll_write_vectored(cx, parts),
            Self::H2(sender) => sender.poll_write(cx, parts, last),
        }
    }

    /// Pushes on what was written and is not with the kernel yet.
    #[inline(always)]
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::H2(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => flush_tls(stream, cx),
        }
    }

    /// Says that nothing more will be written. Reading goes on.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(to) => Pin::new(to).poll_shutdown(cx),
            Self::Tls(stream) => stream.borrow_mut().poll_shutdown(cx),
            Self::H2(sender) => Poll::Ready(sender.end(b"")),
        }
    }

    /// Ready when the reader of a stream of HTTP/2 has reset it. What is not a stream tells by its own reads and writes.
    #[inline]
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(_) | Self::Tls(_) => Poll::Pending,
            Self::H2(sender) => sender.poll_gone(cx),
        }
    }

    /// Bytes that the peer has not acknowledged; `None` of a stream, and where nobody knows.
    pub(crate) fn unacknowledged(&self) -> Option<usize> {
        let asked = match self {
            Self::Plain(to) => weir_sys::unacknowledged(to.as_ref().as_fd()),
            Self::Tls(stream) => weir_sys::unacknowledged(stream.borrow().tcp().as_fd()),
            Self::H2(_) => return None,
        };
        asked.ok()
    }

    /// Sends the head of a message now, where it would otherwise go with the first of the body.
    #[inline]
    pub(crate) fn start(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) | Self::Tls(_) => Ok(()),
            Self::H2(sender) => sender.start(),
        }
    }

    /// Ends a message behind its body, where the end is no bytes. `trailers` are whole lines.
    pub(crate) fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(_) | Self::Tls(_) => Ok(()),
            Self::H2(sender) => sender.end(trailers),
        }
    }
}
