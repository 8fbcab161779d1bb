//! gRPC as a proxy sees it: which requests are calls, how they fail, and how they ended (gRPC over HTTP/2,
//! `PROTOCOL-HTTP2.md`).
//!
//! A call that fails has status 200 and says so in `grpc-status`, in the head of an answer without a body or in the
//! trailers behind one. So what a proxy says of a call in its own name must look like that, and what it learns of an
//! endpoint stands there.

mod web;

use std::time::Duration;

use super::error::ProxyError;
use super::h1::head::{Field, Method, RequestHead};
use super::h1::write::line;
pub(crate) use web::{Incoming, Outgoing, Web};

/// Which kind of call a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// None.
    #[default]
    Plain,
    Grpc,
    /// gRPC-Web, by a client that cannot see trailers.
    Web {
        asked: Web,
        /// In which it wants to be answered.
        answered: Web,
    },
}

impl Kind {
    /// By the request's Content-Type, and its Accept in gRPC-Web; `bytes`: what the head was parsed from.
    pub(crate) fn of(head: &RequestHead, bytes: &[u8]) -> Self {
        // A call is always a POST, which spares most requests the look.
        if head.kind != Method::Post {
            return Self::Plain;
        }
        let value = value_of(&head.fields, bytes, b"content-type");
        match value.map(Self::of_content_type) {
            Some(Self::Web { asked, .. }) => Self::Web {
                asked,
                answered: web::accepted(&head.fields, bytes, asked),
            },
            Some(kind) => kind,
            None => Self::Plain,
        }
    }

    pub(crate) fn of_content_type(value: &[u8]) -> Self {
        let is = |name: &[u8]| {
            let (start, rest) = (value.get(..name.len()), value.get(name.len()..));
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
                && matches!(rest, Some([] | [b'+' | b';' | b' ' | b'\t', ..]))
        };
        let web = |form| Self::Web {
            asked: form,
            answered: form,
        };
        match () {
            () if is(GRPC) => Self::Grpc,
            () if is(Web::Binary.content_type()) => web(Web::Binary),
            () if is(Web::Text.content_type()) => web(Web::Text),
            () => Self::Plain,
        }
    }

    pub(crate) fn is_call(self) -> bool {
        self != Self::Plain
    }
}

/// The value of a field that stands in a head once.
pub(crate) fn value_of<'a>(fields: &[Field], bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let named = |field: &&Field| {
        field.name.len() == name.len() && field.name.get(bytes).eq_ignore_ascii_case(name)
    };
    fields
        .iter()
        .find(named)
        .map(|field| field.value.get(bytes))
}

/// The content type of calls, which something may follow.
pub(crate) const GRPC: &[u8] = b"application/grpc";

/// The field that says how long a caller waits.
pub(crate) const TIMEOUT: &[u8] = b"grpc-timeout";

/// How long the caller waits: up to eight digits and a unit. What is no timeout says nothing.
pub(crate) fn timeout(head: &RequestHead, bytes: &[u8]) -> Option<Duration> {
    parse_timeout(value_of(&head.fields, bytes, TIMEOUT)?)
}

/// As the field says it; never nothing, and in seconds where it is more milliseconds than have room.
pub(crate) fn timeout_text(ms: u64) -> String {
    match ms {
        0 => "1m".to_owned(),
        1..=99_999_999 => format!("{ms}m"),
        _ => format!("{}S", (ms / 1000).min(99_999_999)),
    }
}

fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The number in a `grpc-status`; what is none counts as UNKNOWN (2).
pub(crate) fn parse_status(value: &[u8]) -> u8 {
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    number.filter(|status| *status <= 16).unwrap_or(UNKNOWN)
}

/// The status that stands in trailers, which are whole lines.
pub(crate) fn status_in_trailers(lines: &[u8]) -> Option<u8> {
    let mut lines = lines.split(|b| *b == b'\n');
    lines.find_map(|line| {
        let (name, value) = line.split_at_checked(b"grpc-status".len())?;
        let value = value.strip_prefix(b":")?;
        name.eq_ignore_ascii_case(b"grpc-status")
            .then(|| parse_status(value.trim_ascii()))
    })
}

pub(crate) const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
pub(crate) const DEADLINE_EXCEEDED: u8 = 4;
pub(crate) const UNAVAILABLE: u8 = 14;

/// The name of a status (gRPC, `statuscodes.md`).
pub(crate) fn name(status: u8) -> &'static str {
    match status {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

/// Whether a server that ends a call so has failed, and not its caller (OpenTelemetry, semantic conventions for gRPC).
pub(crate) fn is_of_server(status: u8) -> bool {
    matches!(status, 2 | 4 | 12..=15)
}

/// What a caller is told for an answer of ours (gRPC, `http-grpc-status-mapping.md`), but for what is known better.
pub(crate) fn status_of(error: &ProxyError) -> u8 {
    match error {
        ProxyError::Timeout | ProxyError::ConnectTimeout | ProxyError::Deadline => {
            DEADLINE_EXCEEDED
        }
        ProxyError::ClientGone => CANCELLED,
        error => status_of_http(error.status()),
    }
}

/// The same for a status of HTTP.
pub(crate) fn status_of_http(status: u16) -> u8 {
    match status {
        // INTERNAL, UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, UNAVAILABLE.
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}

/// The status of HTTP that says of an endpoint what this one does, as Envoy has it: so calls count for ejection and in
/// metrics as requests do (semantics 28).
pub(crate) fn http_status(status: u8) -> u16 {
    match status {
        0 => 200,
        // CANCELLED: the caller's doing.
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The fields that tell a caller how its call ended, where there are no trailers to say it.
pub(crate) fn lines(status: u8, message: &str, kind: Kind) -> Vec<u8> {
    let mut out = Vec::new();
    let content_type = match kind {
        Kind::Web { answered, .. } => answered.content_type(),
        _ => GRPC,
    };
    line(&mut out, b"Content-Type", content_type);
    push_status(&mut out, status, message);
    out
}

/// `grpc-status` and `grpc-message`, percent-encoded.
pub(crate) fn push_status(out: &mut Vec<u8>, status: u8, message: &str) {
    let mut digits = itoa::Buffer::new();
    line(out, b"grpc-status", digits.format(status).as_bytes());
    let mut text = Vec::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(byte),
            _ => {
                let hex = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
                text.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    line(out, b"grpc-message", &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_its_content_type_and_nothing_that_looks_like_it() {
        let web = |form| Kind::Web {
            asked: form,
            answered: form,
        };
        for (value, expected) in [
            ("application/grpc", Kind::Grpc),
            ("application/grpc+proto", Kind::Grpc),
            ("Application/gRPC; charset=utf-8", Kind::Grpc),
            ("application/grpc-web", web(Web::Binary)),
            ("application/grpc-web+proto", web(Web::Binary)),
            ("application/grpc-web-text", web(Web::Text)),
            ("application/grpc-web-text+proto", web(Web::Text)),
            ("application/grpc\t;x", Kind::Grpc),
            ("application/grpcx", Kind::Plain),
            ("text/plain; charset=utf-8", Kind::Plain),
            ("application/json", Kind::Plain),
            ("", Kind::Plain),
        ] {
            assert_eq!(Kind::of_content_type(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn timeouts_have_eight_digits_and_a_unit() {
        for (value, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("250m", Some(Duration::from_millis(250))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("2M", Some(Duration::from_secs(120))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn what_is_left_of_a_timeout_is_one_of_eight_digits() {
        for (ms, text) in [
            (0, "1m"),
            (1, "1m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
            (u64::MAX, "99999999S"),
        ] {
            assert_eq!(timeout_text(ms), text);
            assert!(parse_timeout(text.as_bytes()).is_some());
        }
    }

    #[test]
    fn the_status_is_found_among_trailers_and_nonsense_is_unknown() {
        for (lines, expected) in [
            ("grpc-status: 0\r\n", Some(0)),
            ("grpc-message: x\r\nGrpc-Status:14\r\n", Some(14)),
            ("grpc-status: 99\r\n", Some(UNKNOWN)),
            ("grpc-status: no\r\n", Some(UNKNOWN)),
            ("x-grpc-status: 3\r\n", None),
            ("", None),
        ] {
            assert_eq!(status_in_trailers(lines.as_bytes()), expected, "{lines}");
        }
    }

    #[test]
    fn a_message_is_percent_encoded() {
        let mut out = Vec::new();
        push_status(&mut out, 14, "no way: 100%\nü");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "grpc-status: 14\r\ngrpc-message: no way: 100%25%0A%C3%BC\r\n"
        );
    }
}
