//! One stream of HTTP/2, as the request path reads and writes it.
//!
//! The windows of HTTP/2 are joined end to end: what a receiver has handed out is released only when it is asked for more,
//! and that is when what it handed out has been written. So one slow stream holds no more than a buffer and its own
//! window, and none of its neighbours.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::io::ReadBuf;

use super::fields;

/// Data handed to the connection in one piece: as much as a frame carries by default (RFC 9113, section 6.5.2).
const PIECE: usize = 16 * 1024;

/// Both directions of one stream.
pub(crate) struct Exchange {
    receiver: Receiver,
    sender: Sender,
}

/// What the peer sends: the body of a request, or an answer.
pub(crate) struct Receiver {
    /// The answer, until its head has come.
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// Taken from the connection and not handed out yet.
    piece: Bytes,
    /// The same, behind it.
    gathered: BytesMut,
    /// What came behind all of that.
    failed: Option<h2::Error>,
    /// Handed out, and not yet given back to the window.
    owed: usize,
    trailers: Vec<u8>,
    ended: bool,
    is_answer: bool,
    /// Bytes that are still to come of an answer that said its length.
    left: Option<u64>,
}

/// What is sent to the peer.
pub(crate) enum Sender {
    /// To a client whose answer has not begun; its head, once there is one.
    Answer {
        respond: SendResponse<Bytes>,
        head: Option<Response<()>>,
    },
    /// To a client, behind the head of its answer.
    Body(SendStream<Bytes>),
    /// To an endpoint, behind the head of its request.
    Request(SendStream<Bytes>),
    /// All of it was handed to the connection.
    Ended,
}

impl Exchange {
    /// A request that came, to be answered.
    pub(super) fn of_client(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self {
            receiver: Receiver::new(None, Some(body)),
            sender: Sender::Answer {
                respond,
                head: None,
            },
        }
    }

    /// A request whose head was sent; `ended`: it has no body.
    pub(crate) fn of_endpoint(
        answer: ResponseFuture,
        stream: SendStream<Bytes>,
        ended: bool,
    ) -> Self {
        Self {
            receiver: Receiver::new(Some(answer), None),
            sender: match ended {
                true => Sender::Ended,
                false => Sender::Request(stream),
            },
        }
    }

    pub(crate) fn split(&mut self) -> (&mut Receiver, &mut Sender) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Whether nothing of the answer, not even its head, has been sent.
    pub(crate) fn is_unstarted(&self) -> bool {
        matches!(self.sender, Sender::Answer { .. })
    }

    /// The head of the answer, to be sent with the first of its body.
    pub(crate) fn answer_with(&mut self, answer: Response<()>) {
        if let Sender::Answer { head, .. } = &mut self.sender {
            *head = Some(answer);
        }
    }

    /// Sends an interim head (RFC 9113, section 8.1).
    pub(crate) fn inform(&mut self, interim: Response<()>) -> io::Result<()> {
        match &mut self.sender {
            Sender::Answer { respond, .. } => respond
                .send_informational(interim)
                .map_err(io::Error::other),
            _ => Ok(()),
        }
    }

    /// Breaks the stream off, unless both sides have ended.
    pub(crate) fn reset(&mut self) {
        self.reset_with(Reason::INTERNAL_ERROR);
    }

    pub(crate) fn reset_with(&mut self, reason: Reason) {
        match &mut self.sender {
            Sender::Answer { respond, .. } => respond.send_reset(reason),
            Sender::Body(stream) | Sender::Request(stream) => stream.send_reset(reason),
            Sender::Ended => {}
        }
    }
}

impl Receiver {
    fn new(answer: Option<ResponseFuture>, body: Option<RecvStream>) -> Self {
        Self {
            answer,
            body,
            piece: Bytes::new(),
            gathered: BytesMut::new(),
            failed: None,
            owed: 0,
            trailers: Vec::new(),
            ended: false,
            is_answer: false,
            left: None,
        }
    }

    /// Waits for a head of the answer, an interim one included.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, h2::Error>> {
        let Some(answer) = &mut self.answer else {
            return Poll::Pending;
        };
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            return Poll::Ready(interim);
        }
        let head = ready!(Pin::new(answer).poll(cx))?;
        self.answer = None;
        let (parts, body) = head.into_parts();
        self.body = Some(body);
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        self.left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        self.is_answer = true;
        Poll::Ready(Ok(Response::from_parts(parts, ())))
    }

    /// Whether there is no body to come at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_more(cx).map_err(broken)
    }

    /// Ready with a piece at hand, or at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.piece.is_empty() {
            self.piece = self.gathered.split().freeze();
        }
        while self.piece.is_empty() && !self.ended {
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            self.piece = ready!(self.poll_piece(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what has come from the connection, while nobody can have it. Its window is not given back, so that it is no
    /// more than that; but a connection that all share must not be held to account for how many frames it came in.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) {
        while !self.ended && self.failed.is_none() {
            match self.poll_piece(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(piece)) if self.piece.is_empty() => self.piece = piece,
                Poll::Ready(Ok(piece)) => self.gathered.extend_from_slice(&piece),
                Poll::Ready(Err(error)) => self.failed = Some(error),
            }
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle()?;
        ready!(self.poll_ready(cx))?;
        // As many pieces as there are: small ones become one again.
        while !self.piece.is_empty() && into.remaining() > 0 {
            let taken = self.piece.split_to(self.piece.len().min(into.remaining()));
            into.put_slice(&taken);
            self.owed += taken.len();
            if let Poll::Ready(Err(error)) = self.poll_more(cx) {
                self.failed = Some(error);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece, or the end, which is an empty one.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, h2::Error>> {
        let Some(body) = &mut self.body else {
            return Poll::Pending;
        };
        match ready!(body.poll_data(cx)) {
            Some(Ok(piece)) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Poll::Ready(Ok(piece))
            }
            // An endpoint that has said all wants no more of the request (RFC 9113, section 8.1), and the end it said before
            // is forgotten below us.
            Some(Err(error))
                if self.is_answer && is_enough(&error) && self.left.unwrap_or(0) == 0 =>
            {
                self.ended = true;
                Poll::Ready(Ok(Bytes::new()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                if let Some(trailers) = ready!(body.poll_trailers(cx))? {
                    self.trailers = fields::trailer_lines(&trailers);
                }
                self.ended = true;
                Poll::Ready(Ok(Bytes::new()))
            }
        }
    }

    /// Gives what was handed out back to the window: who asks for more has written it.
    fn settle(&mut self) -> io::Result<()> {
        if self.owed > 0
            && let Some(body) = &mut self.body
        {
            let owed = std::mem::take(&mut self.owed);
            body.flow_control().release_capacity(owed).map_err(broken)?;
        }
        Ok(())
    }

    pub(crate) fn is_at_end(&self) -> bool {
        let is_handed_out = self.piece.is_empty() && self.gathered.is_empty();
        is_handed_out && self.failed.is_none() && (self.ended || self.is_empty())
    }

    pub(crate) fn take_trailers(&mut self) -> Option<Box<[u8]>> {
        (!self.trailers.is_empty()).then(|| std::mem::take(&mut self.trailers).into())
    }
}

impl Sender {
    /// Ready when the peer has reset the stream, or its connection is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match self {
            Self::Answer { respond, .. } => respond.poll_reset(cx),
            Self::Body(stream) => stream.poll_reset(cx),
            // An endpoint that wants no more of the request's body may have answered it (RFC 9113, section 8.1).
            Self::Request(stream) => match stream.poll_reset(cx) {
                Poll::Ready(Ok(Reason::NO_ERROR)) => return Poll::Pending,
                polled => polled,
            },
            // Who has all that there is may do as it likes.
            Self::Ended => return Poll::Pending,
        };
        polled.map(drop)
    }

    /// Sends the head, if that was not done yet.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        match self {
            Self::Answer { head: Some(_), .. } => self.send_head(false),
            _ => Ok(()),
        }
    }

    fn send_head(&mut self, end: bool) -> io::Result<()> {
        let Self::Answer { respond, head } = self else {
            return Ok(());
        };
        let head = head.take().ok_or(io::ErrorKind::InvalidInput)?;
        let stream = respond.send_response(head, end).map_err(broken)?;
        *self = match end {
            true => Self::Ended,
            false => Self::Body(stream),
        };
        Ok(())
    }

    /// Hands data to the connection, as far as the windows allow; with `last`, the end goes with the last of it.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        self.start()?;
        let (Self::Body(stream) | Self::Request(stream)) = self else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let wanted = all.min(PIECE);
        stream.reserve_capacity(wanted);
        let mut room = stream.capacity();
        while room == 0 {
            room = match ready!(stream.poll_capacity(cx)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let count = room.min(wanted);
        let piece = match parts {
            [one] => Bytes::copy_from_slice(&one[..count]),
            _ => joined(parts, count),
        };
        let ends = last && count == all;
        stream.send_data(piece, ends).map_err(broken)?;
        if ends {
            *self = Self::Ended;
        }
        Poll::Ready(Ok(count))
    }

    /// Ends the stream, with trailers where there are some; nothing if that was done.
    pub(crate) fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        if trailers.is_empty() && matches!(self, Self::Answer { .. }) {
            return self.send_head(true);
        }
        self.start()?;
        if let Self::Body(stream) | Self::Request(stream) = self {
            let sent = match fields::trailer_map(trailers) {
                fields if fields.is_empty() => stream.send_data(Bytes::new(), true),
                fields => stream.send_trailers(fields),
            };
            sent.map_err(broken)?;
            *self = Self::Ended;
        }
        Ok(())
    }
}

/// The first bytes of these.
fn joined(parts: &[IoSlice<'_>], count: usize) -> Bytes {
    let mut piece = BytesMut::with_capacity(count);
    for part in parts {
        let left = count - piece.len();
        piece.extend_from_slice(&part[..part.len().min(left)]);
    }
    piece.freeze()
}

fn is_enough(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// An error of the stream as one of reading or writing.
fn broken(error: h2::Error) -> io::Error {
    let kind = match error.is_io() {
        true => io::ErrorKind::ConnectionReset,
        false => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}
