//! How long a body is (RFC 9112, section 6), where every doubt is a refusal.

use super::HeadError;

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// That many bytes.
    Length(u64),
    Chunked,
    /// To the end of the connection; responses only.
    Close,
}

/// What the framing fields of one head said.
#[derive(Debug, Default)]
pub(super) struct FramingFields {
    length: Option<u64>,
    chunked: bool,
    codings: u8,
}

impl FramingFields {
    /// Takes one Content-Length line. `raw` is the value with nothing but spaces around it removed.
    ///
    /// Exactly one line with `1*DIGIT` is accepted; a list of equal values is not, for RFC 9110
    /// (section 8.6) only allows, and does not ask, a recipient to fold it.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.length.is_some() {
            return Err(HeadError::Framing("two Content-Length fields"));
        }
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(HeadError::Framing("Content-Length is not a number"));
        }
        let mut length = 0u64;
        for digit in value {
            // 19 digits stay below 10^19 < 2^64.
            length = length * 10 + u64::from(digit - b'0');
        }
        self.length = Some(length);
        Ok(())
    }

    /// Takes one Transfer-Encoding line. Codings may be listed, on one line or several, as long as `chunked` is
    /// the last and stands there once: the one way to say where such a request ends (RFC 9112, section 6.1).
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for coding in value.split(|b| *b == b',') {
            if self.chunked {
                return Err(HeadError::Framing(
                    "Transfer-Encoding does not end in one chunked",
                ));
            }
            self.codings = self.codings.saturating_add(1);
            match without_parameters(coding) {
                coding if coding.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
                coding if is_coding(coding) => {}
                _ => return Err(HeadError::Coding),
            }
        }
        Ok(())
    }

    /// How many codings there were; those beside `chunked` are passed on, for the body still has them.
    pub(super) fn codings(&self) -> u8 {
        self.codings
    }

    /// Decides. `minor` is the minor version of the message.
    ///
    /// # Errors
    /// Both kinds of framing at once; a transfer coding in HTTP/1.0.
    pub(super) fn decide(&self, minor: u8) -> Result<Option<Framing>, HeadError> {
        if self.codings > 0 && self.length.is_some() {
            return Err(HeadError::Framing(
                "both Content-Length and Transfer-Encoding",
            ));
        }
        if self.codings > 0 && minor == 0 {
            return Err(HeadError::Framing("Transfer-Encoding in HTTP/1.0"));
        }
        if self.codings > 0 && !self.chunked {
            return Err(HeadError::Framing(
                "Transfer-Encoding does not end in chunked",
            ));
        }
        Ok(match (self.chunked, self.length) {
            (true, _) => Some(Framing::Chunked),
            (false, Some(length)) => Some(Framing::Length(length)),
            (false, None) => None,
        })
    }
}

/// A coding's name: parameters are cut, for no registered coding has one, and none is passed on.
pub(in crate::http::h1) fn without_parameters(coding: &[u8]) -> &[u8] {
    let name = coding.split(|b| *b == b';').next().unwrap_or_default();
    name.trim_ascii()
}

/// The registered codings (RFC 9112, section 7), and the `identity` of old.
fn is_coding(coding: &[u8]) -> bool {
    let known: [&[u8]; 6] = [
        b"gzip",
        b"x-gzip",
        b"deflate",
        b"compress",
        b"x-compress",
        b"identity",
    ];
    known.iter().any(|known| coding.eq_ignore_ascii_case(known))
}
