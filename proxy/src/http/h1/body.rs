//! Bodies: from bytes on the wire to data, without I/O (RFC 9112, sections 6 and 7).
//!
//! A [`Decoder`] is handed a buffer, takes what it can from its front and leaves the data as one range of
//! that buffer: the pieces of a chunked body are moved together in place, so that a body of many small chunks
//! costs one write and not many.

mod chunked;
mod trailers;

pub(crate) use trailers::is_forwardable as is_forwardable_trailer;

use std::ops::Range;

use chunked::Chunked;

use super::head::Framing;

/// Why a body was refused. What follows on the connection cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("a chunk size is malformed or too large")]
    ChunkSize,
    #[error("a chunk extension is malformed or too long")]
    Extension,
    #[error("a chunk does not end in CR LF")]
    ChunkEnd,
    #[error("a trailer is malformed")]
    Trailer,
    #[error("the trailers are too large")]
    TrailersTooLarge,
    #[error("it is to be base64, and is not")]
    Text,
}

/// What one call to [`Decoder::decode`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes used up at the front of the buffer; `data` lies within them.
    pub consumed: usize,
    /// Where the data is now.
    pub data: Range<usize>,
}

/// Reads one body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Close,
    /// The end is known to stand behind what is in the buffer.
    Last,
    Chunked(Chunked),
    Done,
}

impl Decoder {
    /// A decoder at the start of a body framed so.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::Close => State::Close,
        };
        Self { state }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Done => true,
            State::Chunked(chunked) => chunked.is_done(),
            State::Length(_) | State::Close | State::Last => false,
        }
    }

    /// Takes what it can from the front of `buf`. Nothing consumed means: more must be read.
    ///
    /// # Errors
    /// [`BodyError`]; the decoder must not be used again.
    pub fn decode(&mut self, buf: &mut [u8]) -> Result<Decoded, BodyError> {
        match &mut self.state {
            State::Done => Ok(Decoded {
                consumed: 0,
                data: 0..0,
            }),
            State::Close | State::Last => {
                if matches!(self.state, State::Last) {
                    self.state = State::Done;
                }
                Ok(Decoded {
                    consumed: buf.len(),
                    data: 0..buf.len(),
                })
            }
            State::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= take as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(Decoded {
                    consumed: take,
                    data: 0..take,
                })
            }
            State::Chunked(chunked) => chunked.decode(buf),
        }
    }

    /// The end of the connection was read; `rest`: some of what stood before it was not decoded yet. Returns whether
    /// that ends the body, too.
    pub fn end_of_input(&mut self, rest: bool) -> bool {
        if matches!(self.state, State::Close | State::Last) {
            self.state = match rest {
                true => State::Last,
                false => State::Done,
            };
        }
        self.is_done()
    }

    /// The trailer lines, each `Name: value` and CR LF, of a chunked body that has ended.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        match &self.state {
            State::Chunked(chunked) => chunked.trailers(),
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests;
