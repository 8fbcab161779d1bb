//! Bodies of the origin: bytes by count, chunks by the clock, trailers.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Body, Frame, SizeHint};

/// The usual answer is one slice; everything else is boxed.
pub(super) type Answer = Either<Full<Bytes>, UnsyncBoxBody<Bytes, io::Error>>;

/// Sixteen KiB of letters, sliced for [`Pattern`].
static LETTERS: [u8; 16 * 1024] = letters();

const fn letters() -> [u8; 16 * 1024] {
    let mut all = [b'\n'; 16 * 1024];
    let mut i = 0;
    while i < all.len() {
        if i % 64 != 63 {
            all[i] = b'a' + (i % 26) as u8;
        }
        i += 1;
    }
    all
}

/// A slice that is already there.
pub(super) fn full(bytes: impl Into<Bytes>) -> Answer {
    Either::Left(Full::new(bytes.into()))
}

/// Boxes a body that is not the usual answer.
pub(super) fn boxed<B>(body: B) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    Either::Right(body.map_err(io::Error::other).boxed_unsync())
}

/// That many bytes of letters, with their count known ahead.
pub(super) fn bytes(count: u64) -> Answer {
    boxed(Pattern { left: count })
}

/// `chunk 1` to `chunk N`, a line each, an interval apart.
pub(super) fn chunks(count: u64, interval: Duration) -> Answer {
    boxed(StreamBody::new(ticking(count, interval)))
}

fn ticking(
    count: u64,
    interval: Duration,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    stream::unfold(1, move |n| async move {
        if n > count {
            return None;
        }
        if n > 1 && !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
        Some((Ok(Frame::data(Bytes::from(format!("chunk {n}\n")))), n + 1))
    })
}

/// Two chunks, then `x-origin-checksum` and `x-origin-end` as trailers.
pub(super) fn with_trailers() -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-origin-checksum", HeaderValue::from_static("two-chunks"));
    trailers.insert("x-origin-end", HeaderValue::from_static("yes"));
    let frames = [
        Frame::data(Bytes::from_static(b"chunk 1\n")),
        Frame::data(Bytes::from_static(b"chunk 2\n")),
        Frame::trailers(trailers),
    ];
    boxed(StreamBody::new(stream::iter(
        frames.map(Ok::<_, Infallible>),
    )))
}

/// Slices of [`LETTERS`] until the count is reached; nothing is copied.
struct Pattern {
    left: u64,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let take = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(LETTERS.len());
        self.left -= take as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&LETTERS[..take])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
