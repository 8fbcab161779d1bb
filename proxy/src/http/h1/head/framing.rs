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

    /// Takes one Transfer-Encoding line: only a single `chunked` is a coding we can end.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        self.codings = self.codings.saturating_add(1);
        if self.codings > 1 {
            return Err(HeadError::Framing("two Transfer-Encoding fields"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Framing(
                "Transfer-Encoding is not exactly chunked",
            ));
        }
        self.chunked = true;
        Ok(())
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
        Ok(match (self.chunked, self.length) {
            (true, _) => Some(Framing::Chunked),
            (false, Some(length)) => Some(Framing::Length(length)),
            (false, None) => None,
        })
    }
}
