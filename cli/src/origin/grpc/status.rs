//! How a call ended, as gRPC writes it into trailers.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

/// The codes that the origin gives by itself (`google.rpc.Code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument = 3,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// A code with a message for people; 0 is success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: Cow<'static, str>,
}

impl Status {
    #[cfg(test)]
    pub(super) const fn ok() -> Self {
        Self {
            code: 0,
            message: Cow::Borrowed(""),
        }
    }

    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: code as u32,
            message: message.into(),
        }
    }

    /// # Errors
    /// Itself, unless it is success.
    pub(super) fn into_result(self) -> Result<(), Self> {
        match self.code {
            0 => Ok(()),
            _ => Err(self),
        }
    }

    /// `grpc-status`, `grpc-message` where there is one, and the mark of the origin.
    pub(super) fn trailers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let message = (!self.message.is_empty()).then(|| encode(&self.message));
        let message = message.and_then(|text| HeaderValue::try_from(text).ok());
        let name = HeaderName::from_static;
        let status = (name("grpc-status"), HeaderValue::from(self.code));
        let end = (name("x-origin-end"), HeaderValue::from_static("yes"));
        let message = message.map(|text| (name("grpc-message"), text));
        std::iter::once(status).chain(message).chain(Some(end))
    }
}

/// Percent-encodes what is no printable ASCII, and the percent sign (gRPC over HTTP/2, "Status-Message").
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_passes_as_printable_ascii() {
        assert_eq!(encode("50% off\nümlaut"), "50%25 off%0A%C3%BCmlaut");
    }

    #[test]
    fn success_has_no_message() {
        let names: Vec<String> = Status::ok()
            .trailers()
            .map(|(n, _)| n.to_string())
            .collect();
        assert_eq!(names, ["grpc-status", "x-origin-end"]);
    }
}
