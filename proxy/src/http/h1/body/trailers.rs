//! The trailer section of a chunked body.

use super::BodyError;
use super::chunked::is_token;
use crate::http::h1::head::{Known, check_alias};

/// Bytes of all lines together.
const MAX_BYTES: usize = 8 * 1024;
/// Lines.
const MAX_LINES: u8 = 32;

/// Fields that frame, route or identify a message, or say how to read it, must not come after it
/// (RFC 9110, section 6.5.1); those that [`Known`] lists are dropped as well.
const FORBIDDEN: [&[u8]; 12] = [
    b"content-type",
    b"content-encoding",
    b"content-range",
    b"trailer",
    b"authorization",
    b"proxy-authorization",
    b"set-cookie",
    b"cache-control",
    b"max-forwards",
    b"range",
    b"age",
    b"location",
];

/// Collects trailer lines as they arrive and drops those that must not be trailers.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    /// Whole lines that are kept, then the line being read.
    bytes: Vec<u8>,
    /// Where the line being read starts.
    line: usize,
    lines: u8,
    /// The last byte was CR.
    cr: bool,
    taken: usize,
}

impl Trailers {
    pub(super) fn lines(&self) -> &[u8] {
        self.bytes.get(..self.line).unwrap_or_default()
    }

    /// Takes one byte; `true` after the empty line that ends the section.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, BodyError> {
        self.taken += 1;
        if self.taken > MAX_BYTES {
            return Err(BodyError::TrailersTooLarge);
        }
        match (self.cr, byte) {
            (true, b'\n') => {
                self.cr = false;
                self.end_line()
            }
            (true, _) | (false, b'\n') => Err(BodyError::Trailer),
            (false, b'\r') => {
                self.cr = true;
                Ok(false)
            }
            (false, byte) => {
                self.bytes.push(byte);
                Ok(false)
            }
        }
    }

    fn end_line(&mut self) -> Result<bool, BodyError> {
        let line = self.bytes.get(self.line..).unwrap_or_default();
        if line.is_empty() {
            return Ok(true);
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(BodyError::TrailersTooLarge);
        }
        if keep(line)? {
            self.bytes.extend_from_slice(b"\r\n");
            self.line = self.bytes.len();
        } else {
            self.bytes.truncate(self.line);
        }
        Ok(false)
    }
}

/// Whether the line may be passed on.
fn keep(line: &[u8]) -> Result<bool, BodyError> {
    let colon = memchr::memchr(b':', line).ok_or(BodyError::Trailer)?;
    let (name, value) = line.split_at(colon);
    let is_text = |b: &u8| matches!(b, b'\t' | b' '..=b'~' | 0x80..);
    if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_text) {
        return Err(BodyError::Trailer);
    }
    let forbidden = FORBIDDEN.iter().any(|f| name.eq_ignore_ascii_case(f));
    Ok(!forbidden && Known::of(name) == Known::Other && check_alias(name).is_ok())
}

/// The same of a trailer that came in a frame; what is no field may not be passed on either.
pub(crate) fn is_forwardable(line: &[u8]) -> bool {
    keep(line).unwrap_or(false)
}
