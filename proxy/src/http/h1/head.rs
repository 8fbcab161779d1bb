//! Heads: the request line or status line and the fields, parsed without I/O.
//!
//! A parsed head holds no bytes, only ranges of the buffer it was parsed from, so that it lives
//! beside that buffer and is reused from request to request without allocating. httparse does the
//! tokenizing; what it tolerates and a proxy must not (bare LF, doubled or ambiguous framing, a
//! second Host, names that alias ours) is refused here, before anything is forwarded.

mod connection;
mod field;
mod framing;
mod request;
mod response;
mod span;
mod target;

pub(super) use field::check_alias;
pub use field::{Field, Known};
pub use framing::Framing;
pub(super) use framing::without_parameters;
pub(in crate::http) use request::settle_request;
pub use request::{HostSource, Method, RequestHead, Target, parse_request};
pub use response::{ResponseHead, parse_response};
pub use span::Span;

use weir_config::model::Limits;

/// What a call to a parser found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole head of that many bytes; what follows belongs to the body.
    Complete(usize),
    /// Nothing wrong so far; read more.
    Partial,
}

/// Why a head was refused. [`HeadError::status`] is the answer a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the head is not HTTP/1: {0}")]
    Syntax(&'static str),
    #[error("the framing is ambiguous: {0}")]
    Framing(&'static str),
    #[error(
        "the framing is ambiguous: a GET or HEAD with a body; allowGetBody on the listener lets it pass"
    )]
    GetBody,
    #[error("the Host is missing or not usable: {0}")]
    Host(&'static str),
    #[error("the request target is not usable: {0}")]
    Target(&'static str),
    #[error("the request line is too long")]
    LineTooLong,
    #[error("there are too many fields, or too large ones")]
    FieldsTooLarge,
    #[error("the HTTP version is not supported")]
    Version,
    #[error("the method is not supported by a proxy")]
    Method,
    #[error("the transfer coding is not supported")]
    Coding,
    #[error("the expectation is not supported")]
    Expectation,
}

impl HeadError {
    /// The status for the client (RFC 9110, section 15; RFC 6585 for 431).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Syntax(_)
            | Self::Framing(_)
            | Self::GetBody
            | Self::Host(_)
            | Self::Target(_)
            | Self::Coding => 400,
            Self::LineTooLong => 414,
            Self::FieldsTooLarge => 431,
            Self::Version => 505,
            Self::Method => 501,
            Self::Expectation => 417,
        }
    }
}

/// The most fields that any setting may allow; bounds the table on the parser's stack.
pub const MAX_FIELDS: usize = 256;

/// Refuses what httparse lets pass: a line that ends in LF without CR (RFC 9112, section 2.2).
///
/// A line ends right before each field, and before the empty line; httparse has seen to it that there is no LF
/// anywhere else.
fn check_line_ends(head: &[u8], fields: &[httparse::Header<'_>]) -> Result<(), HeadError> {
    let ends_well = |at: usize| head.get(at.wrapping_sub(2)..at) == Some(b"\r\n");
    let starts = fields
        .iter()
        .map(|field| Span::of(head, field.name.as_bytes()).start as usize);
    let mut ends = starts.chain([head.len(), head.len().saturating_sub(2)]);
    match ends.all(ends_well) {
        true => Ok(()),
        false => Err(HeadError::Syntax("a line ends in a bare LF")),
    }
}

fn from_httparse(error: httparse::Error) -> HeadError {
    use httparse::Error as E;
    match error {
        E::HeaderName => HeadError::Syntax("a field name holds a character that is no token"),
        E::HeaderValue => HeadError::Syntax("a field value holds a control character"),
        E::NewLine => HeadError::Syntax("a line does not end in CR LF"),
        E::Status => HeadError::Syntax("the status line is malformed"),
        E::Token => HeadError::Syntax("the request line is malformed"),
        E::TooManyHeaders => HeadError::FieldsTooLarge,
        E::Version => HeadError::Version,
    }
}

/// Bounds that hold whether or not the head is whole yet.
fn check_sizes(buf: &[u8], limits: &Limits) -> Result<(), HeadError> {
    let line = memchr::memchr(
        b'\n',
        &buf[..buf.len().min(limits.max_request_line_bytes + 2)],
    );
    match line {
        None if buf.len() > limits.max_request_line_bytes + 1 => Err(HeadError::LineTooLong),
        None => Ok(()),
        Some(end) if buf.len() - end > limits.max_header_bytes + 1 => {
            Err(HeadError::FieldsTooLarge)
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
