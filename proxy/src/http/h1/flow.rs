//! A flow: one direction of one body, from socket to socket.
//!
//! It holds at most one buffer, and reads again only when what it has is written: a reader that is slow
//! holds the writer back, and memory does not grow. A flow that waits with nothing to write holds no
//! buffer; one whose reads fill a small buffer goes on with a large one.

mod chunk;

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use chunk::{push_hex, tail};

use super::body::{BodyError, Decoder};
use super::head::Framing;
use super::tap::Tap;
use crate::buffer::{Buffer, BufferPool, LARGE, SHED, SMALL};
use crate::http::grpc::{Incoming, Outgoing};
use crate::socket::{ReadHalf, Source, WriteHalf};

/// Bytes read in one turn before other connections get theirs. Without a bound, one large body on a fast link holds up
/// everybody else on the worker; with four times as much, the slowest of a hundred bodies of 1 MiB took a tenth longer,
/// for the same cost.
const BYTES_PER_TURN: usize = 64 * 1024;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is; the length or the end of the connection tells the end.
    Identity,
    Chunked,
    /// As a stream of HTTP/2: data is data, and the end is said apart.
    Frames,
}

impl Encoding {
    /// That of a request's body to an endpoint of HTTP/1.
    pub(crate) fn of_request(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::Chunked,
            _ => Self::Identity,
        }
    }
}

/// What data becomes on its way.
pub(crate) enum Turn {
    /// The answer to a client of gRPC-Web.
    ToWeb(Outgoing),
    /// What such a client sends as text.
    FromText(Incoming),
}

/// Why a flow ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowError {
    #[error("reading failed: {0}")]
    Read(io::Error),
    #[error("the sender closed before the end")]
    Cut,
    #[error("the body is malformed: {0}")]
    Body(#[from] BodyError),
    #[error("writing failed: {0}")]
    Write(io::Error),
}

/// One direction of one body, with what must be written before it.
pub(crate) struct Flow {
    pub(crate) buffer: Buffer,
    /// Written first: the head, then each chunk's size.
    pub(crate) front: Vec<u8>,
    front_at: usize,
    /// Of the message, while it is still in front.
    head_len: usize,
    /// Of the buffer's filled part.
    data: Range<usize>,
    /// Written behind the data: a chunk's end, the last chunk and its trailers.
    tail: Cow<'static, [u8]>,
    tail_at: usize,
    /// To be dropped from the buffer once everything is written.
    consumed: usize,
    decoder: Decoder,
    encoding: Encoding,
    /// The end has been queued.
    ended: bool,
    /// There is no body at all.
    bodiless: bool,
    /// The trailers have become part of the body.
    swallowed: bool,
    /// What ends a message in frames was said.
    closed: bool,
    /// Those of a sender whose end is no bytes.
    trailers: Option<Box<[u8]>>,
    /// What the buffer held at the start has been looked at.
    primed: bool,
    /// Bytes of data read so far.
    pub(crate) moved: u64,
    /// Bytes written so far, whatever they were.
    pub(crate) sent: u64,
    /// What the data becomes on its way, where it does not stay as it is.
    turn: Option<Box<Turn>>,
    /// Gets a copy of the data, where somebody asked for one, or it may have to be sent again.
    tap: Option<Box<Tap>>,
    pool: Rc<BufferPool>,
}

impl Flow {
    /// A flow that starts with `front`, then the body at the front of `buffer`.
    pub(crate) fn new(
        front: Vec<u8>,
        buffer: Buffer,
        framing: Framing,
        encoding: Encoding,
        pool: &Rc<BufferPool>,
    ) -> Self {
        let decoder = Decoder::new(framing);
        // A message without a body has no last chunk either.
        let ended =
            framing == Framing::None || (decoder.is_done() && encoding == Encoding::Identity);
        Self {
            buffer,
            head_len: front.len(),
            front,
            front_at: 0,
            data: 0..0,
            tail: Cow::Borrowed(b""),
            tail_at: 0,
            consumed: 0,
            decoder,
            encoding,
            ended,
            bodiless: framing == Framing::None,
            swallowed: false,
            closed: false,
            trailers: None,
            primed: false,
            moved: 0,
            sent: 0,
            turn: None,
            tap: None,
            pool: Rc::clone(pool),
        }
    }

    /// Has the data turned on its way; before any of it was taken.
    pub(crate) fn turn(&mut self, turn: Turn) {
        self.turn = Some(Box::new(turn));
    }

    /// Where to ask for a copy of the body; before any of it was taken.
    pub(crate) fn tap(&mut self) -> &mut Tap {
        self.tap.get_or_insert_default()
    }

    /// Whether everything has been read and written.
    pub(crate) fn is_done(&self) -> bool {
        self.ended && !self.has_output() && (self.closed || self.encoding != Encoding::Frames)
    }

    /// The trailers behind the body, whole lines, once it has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        match &self.trailers {
            None => self.decoder.trailers(),
            Some(trailers) => trailers,
        }
    }

    /// Whether it waits for the sender, and not for the receiver.
    pub(crate) fn waits_for_input(&self) -> bool {
        !self.ended && !self.has_output()
    }

    /// Whether not a byte was written yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.front_at == 0 && self.front.len() == self.head_len
    }

    /// Holds on to the body, as far as a [`Tap`] does, so that it can be sent again; before any of it was taken.
    pub(crate) fn keep(&mut self) {
        self.tap().keep();
    }

    /// There will be no other endpoint.
    pub(crate) fn keep_no_longer(&mut self) {
        if let Some(tap) = &mut self.tap
            && !tap.keep_no_longer()
        {
            self.tap = None;
        }
    }

    /// Whether anything of the body was taken, the end of an empty chunked one included.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved > 0 || (self.ended && !self.bodiless && self.encoding != Encoding::Identity)
    }

    /// Whether all of the body taken so far is still there (semantics 28).
    pub(crate) fn can_restart(&self) -> bool {
        !self.has_moved() || self.kept().is_some()
    }

    /// Starts over with another head, for another endpoint; only while it [can](Self::can_restart).
    pub(crate) fn restart(&mut self, front: Vec<u8>, encoding: Encoding) {
        let framed = self.has_moved();
        self.front = front;
        self.front_at = 0;
        self.closed = false;
        self.encoding = encoding;
        // An empty body whose end was only implied may have to be said now.
        self.ended &= framed || self.bodiless || encoding == Encoding::Identity;
        if framed {
            self.replay();
        }
    }

    fn kept(&self) -> Option<&[u8]> {
        self.tap.as_ref().and_then(|tap| tap.kept())
    }

    /// Queues what is held of the body behind the head, framed as the rest will be; what was queued before is part of it.
    fn replay(&mut self) {
        self.data = 0..0;
        self.buffer.consume(self.consumed);
        self.consumed = 0;
        let kept = self.kept().unwrap_or_default();
        let mut again = Vec::with_capacity(kept.len() + 32);
        if self.encoding == Encoding::Chunked && !kept.is_empty() {
            push_hex(&mut again, kept.len());
        }
        again.extend_from_slice(kept);
        if self.encoding == Encoding::Chunked {
            let end = tail(!kept.is_empty(), self.ended, self.trailers());
            again.extend_from_slice(&end);
        }
        self.tail = Cow::Owned(again);
        self.tail_at = 0;
    }

    /// Ends the body here, in place of its sender: what was taken of it is written, and then these trailers.
    pub(crate) fn end_with(&mut self, trailers: Vec<u8>) {
        self.decoder = Decoder::new(Framing::None);
        self.trailers = Some(trailers.into_boxed_slice());
    }

    /// Throws away what the buffer holds of the body; whether that was all of it.
    pub(crate) fn discard_buffered(&mut self) -> bool {
        while !self.ended {
            if !matches!(self.take_data(), Ok(true)) {
                return false;
            }
            self.front.clear();
            self.tail = Cow::Borrowed(b"");
            self.data = 0..0;
            self.settle();
        }
        true
    }

    /// Gives back the memory of the head, which is not written any further.
    pub(crate) fn take_front(&mut self) -> Vec<u8> {
        // What a body puts there later starts anew.
        self.front_at = 0;
        std::mem::take(&mut self.front)
    }

    /// Lets the memory of a large head go that has left.
    pub(crate) fn shed_front(&mut self) {
        if self.front_at == self.front.len() && self.front.capacity() > SHED {
            self.take_front();
        }
    }

    /// The head for another try: its memory where it has left, a copy where a part of it has not, as an endpoint may answer
    /// before it has read it all.
    pub(crate) fn lend_front(&mut self) -> Vec<u8> {
        match self.front_at == self.front.len() {
            true => self.take_front(),
            false => self.front.clone(),
        }
    }

    /// Moves what can be moved. Ready at the end of the body, with all of it written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), FlowError>> {
        let mut taken = 0;
        if !self.primed {
            self.primed = true;
            // A head and the first of its body leave in one write.
            if !self.ended {
                self.take_data()?;
            }
        }
        loop {
            if self.has_output() {
                let written = self.poll_write(cx, to);
                if written.is_pending() && !self.ended {
                    from.gather(cx);
                }
                ready!(written).map_err(FlowError::Write)?;
            }
            if self.ended {
                return self.poll_end(cx, to).map_err(FlowError::Write);
            }
            if self.take_data()? {
                continue;
            }
            // Nothing goes with a head in frames, or pushes on what TLS still holds.
            to.start().map_err(FlowError::Write)?;
            if let Poll::Ready(Err(error)) = to.poll_flush(cx) {
                return Poll::Ready(Err(FlowError::Write(error)));
            }
            if taken >= BYTES_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What goes into frames goes by a frame at a time, and many streams share a connection.
            let largest = match self.encoding {
                Encoding::Frames => SMALL,
                _ => LARGE,
            };
            let read = ready!(poll_read(cx, from, &mut self.buffer, &self.pool, largest))
                .map_err(FlowError::Read)?;
            taken += read;
            if read == 0 || from.is_at_end() {
                self.trailers = from.trailers();
                let ends = self.decoder.end_of_input(!self.buffer.is_empty());
                if read == 0 {
                    if !ends {
                        return Poll::Ready(Err(FlowError::Cut));
                    }
                    self.queue(0..0)?;
                }
            }
        }
    }

    /// Says the end where it is no bytes, and waits until all of it is with the kernel.
    fn poll_end(&mut self, cx: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Poll<io::Result<()>> {
        if self.encoding == Encoding::Frames && !self.closed {
            let trailers = if self.swallowed { &[] } else { self.trailers() };
            to.end(trailers)?;
            self.closed = true;
        }
        to.poll_flush(cx)
    }

    fn has_output(&self) -> bool {
        self.front_at < self.front.len() || !self.data.is_empty() || self.tail_at < self.tail.len()
    }

    /// Decodes what is in the buffer; `false` when more must be read.
    fn take_data(&mut self) -> Result<bool, FlowError> {
        if self.buffer.is_empty() && !self.decoder.is_done() {
            return Ok(false);
        }
        let decoded = self.decoder.decode(self.buffer.filled_mut())?;
        if decoded.data.is_empty() && !self.decoder.is_done() {
            self.buffer.consume(decoded.consumed);
            return Ok(false);
        }
        self.consumed = decoded.consumed;
        self.queue(decoded.data)?;
        Ok(true)
    }

    fn queue(&mut self, data: Range<usize>) -> Result<(), FlowError> {
        self.moved += data.len() as u64;
        if self.front_at == self.front.len() {
            self.front.clear();
            self.front_at = 0;
        }
        self.tail_at = 0;
        self.ended = self.decoder.is_done();
        if let Some(tap) = &mut self.tap
            && !tap.take(&self.buffer.filled()[data.clone()], self.ended)
        {
            self.tap = None;
        }
        if self.turn.is_some() {
            return self.queue_turned(&data);
        }
        self.tail = match self.encoding {
            // A body that was sent again stood here.
            Encoding::Identity | Encoding::Frames => Cow::Borrowed(b""),
            Encoding::Chunked => tail(!data.is_empty(), self.ended, self.trailers()),
        };
        if self.encoding == Encoding::Chunked && !data.is_empty() {
            push_hex(&mut self.front, data.len());
        }
        self.data = data;
        self.settle();
        Ok(())
    }

    /// The same of data that does not stay as it is: what it becomes stands in front, and trailers may be part of it.
    #[cold]
    fn queue_turned(&mut self, data: &Range<usize>) -> Result<(), FlowError> {
        let trailers = self.trailers().to_vec();
        let bytes = &self.buffer.filled()[data.clone()];
        let (turned, told) = match self.turn.as_deref_mut() {
            Some(Turn::ToWeb(out)) => {
                let turned = out.turn(bytes, self.ended.then_some(&trailers[..]));
                (turned.unwrap_or_else(|| bytes.to_vec()), true)
            }
            Some(Turn::FromText(text)) => {
                let turned = text.turn(bytes, self.ended);
                (turned.map_err(|_| FlowError::Body(BodyError::Text))?, false)
            }
            None => (bytes.to_vec(), false),
        };
        let trailers = if told { &[][..] } else { &trailers };
        self.tail = match self.encoding {
            Encoding::Identity | Encoding::Frames => Cow::Borrowed(b""),
            Encoding::Chunked => tail(!turned.is_empty(), self.ended, trailers),
        };
        if self.encoding == Encoding::Chunked && !turned.is_empty() {
            push_hex(&mut self.front, turned.len());
        }
        self.front.extend_from_slice(&turned);
        self.swallowed = told && self.ended;
        self.data = 0..0;
        self.settle();
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Poll<io::Result<()>> {
        let last = self.encoding == Encoding::Frames
            && self.ended
            && (self.swallowed || self.trailers().is_empty());
        while self.has_output() {
            let parts = [
                IoSlice::new(&self.front[self.front_at..]),
                IoSlice::new(&self.buffer.filled()[self.data.clone()]),
                IoSlice::new(&self.tail[self.tail_at..]),
            ];
            // Mostly there is one part, or the head with a body; empty parts would still be copied in.
            let parts = match (parts[0].is_empty(), parts[2].is_empty()) {
                (true, true) => &parts[1..2],
                (true, false) => &parts[1..],
                (false, true) if parts[1].is_empty() => &parts[..1],
                (false, true) => &parts[..2],
                (false, false) => &parts[..],
            };
            // A little nearly always finds room, and to write it at once spares a look at the driver. A lot may fill the
            // socket, and the driver's note of that spares a call that would fail.
            let at_once = match self.data.len() < SMALL {
                true => to.try_write_vectored(parts),
                false => Err(io::ErrorKind::WouldBlock.into()),
            };
            let written = match at_once {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(to.poll_write_vectored(cx, parts, last))?
                }
                at_once => at_once?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written(written);
        }
        Poll::Ready(Ok(()))
    }

    fn written(&mut self, mut count: usize) {
        self.sent = self.sent.wrapping_add(count as u64);
        let front = count.min(self.front.len() - self.front_at);
        self.front_at += front;
        count -= front;
        let data = count.min(self.data.len());
        self.data.start += data;
        count -= data;
        self.tail_at += count;
        self.settle();
    }

    /// Gives the buffer's bytes up once nothing refers to them.
    fn settle(&mut self) {
        if !self.has_output() || self.data.is_empty() {
            self.data = 0..0;
            self.buffer.consume(self.consumed);
            self.consumed = 0;
        }
    }
}

/// Reads once for a direction that holds no buffer while it waits: takes one when there is something to read, gives it
/// back when there was not, and goes on with a large one when reads fill a small one.
pub(crate) fn poll_read(
    cx: &mut Context<'_>,
    from: &mut impl Source,
    buffer: &mut Buffer,
    pool: &Rc<BufferPool>,
    largest: usize,
) -> Poll<io::Result<usize>> {
    if buffer.capacity() == 0 {
        ready!(from.poll_ready(cx))?;
        *buffer = pool.small();
    }
    let read = poll_fill(cx, from, buffer);
    match &read {
        Poll::Pending if buffer.is_empty() => *buffer = pool.none(),
        Poll::Ready(Ok(_)) if buffer.spare_mut().is_empty() && buffer.capacity() < largest => {
            buffer.grow();
        }
        _ => {}
    }
    read
}

/// Reads once into the free part of a buffer, which is made if there is none.
pub(crate) fn poll_fill(
    cx: &mut Context<'_>,
    from: &mut impl Source,
    buffer: &mut Buffer,
) -> Poll<io::Result<usize>> {
    if buffer.spare_mut().is_empty() {
        buffer.compact();
    }
    let mut spare = ReadBuf::new(buffer.spare_mut());
    if spare.remaining() == 0 {
        return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
    }
    ready!(from.poll_read(cx, &mut spare))?;
    let read = spare.filled().len();
    buffer.advance(read);
    Poll::Ready(Ok(read))
}

#[cfg(test)]
mod tests;
