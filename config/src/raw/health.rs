//! Active checks as a file writes them.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::{Schema, json_schema};

use super::object::{object, words};
use super::scalar::Refused;
use super::{At, Header, Scalar};
use crate::model;

object! {
    /// Active checks of every endpoint: http, grpc or tcp.
    HealthCheck = "healthCheck" {
        /// Asks for a path.
        http: HttpProbe = "http",
        /// Asks grpc.health.v1.Health, over HTTP/2.
        grpc: GrpcProbe = "grpc",
        /// A connection that is accepted passes. The default.
        tcp: TcpProbe = "tcp",
        /// Another port of the endpoint's address. Default: the endpoint's own.
        port: At<u16> = "port",
        /// Default 5s.
        interval: At<Duration> = "interval",
        /// For the whole check. Default 1s.
        timeout: At<Duration> = "timeout",
        /// Failures in a row that take an endpoint out. Default 3.
        unhealthy_threshold: At<u32> = "unhealthyThreshold",
        /// Passes in a row that bring it back. Default 2.
        healthy_threshold: At<u32> = "healthyThreshold",
    }
}

object! {
    /// A check by HTTP.
    HttpProbe = "healthCheck.http" {
        /// A path, with a query if need be.
        #[schemars(required)]
        path: At<String> = "path",
        /// The Host header. Default: the address that is asked.
        host: At<String> = "host",
        /// GET or HEAD. Default GET.
        method: At<ProbeMethod> = "method",
        /// Further header fields.
        headers: Vec<Header> = "headers",
        /// The statuses that pass: 204, or "200-299". Default 200-299.
        expected_statuses: Vec<At<StatusRange>> = "expectedStatuses",
        /// What the first 64 KiB of the body must hold, too.
        body: BodyMatch = "body",
    }
}

object! {
    /// What a body must hold: contains or regex.
    BodyMatch = "healthCheck.http.body" {
        /// This text.
        contains: At<String> = "contains",
        /// A match of this regular expression, anywhere.
        regex: At<String> = "regex",
    }
}

object! {
    /// A check by grpc.health.v1.Health/Check.
    GrpcProbe = "healthCheck.grpc" {
        /// The service that is asked about. Default: the server as a whole.
        service: At<String> = "service",
        /// The :authority. Default: the address that is asked.
        authority: At<String> = "authority",
    }
}

object! {
    /// A check by TCP: a connection that is accepted passes.
    TcpProbe = "healthCheck.tcp" {
        /// Text to write once connected, with \r, \n, \t, \\ and \xNN.
        send: At<Escaped> = "send",
        /// Text that must come within the first 64 KiB, with the same escapes.
        expect: At<Escaped> = "expect",
    }
}

words! {
    /// How a check asks.
    ProbeMethod = "a method of a health check" { Get = "GET", Head = "HEAD" }
}

/// One status or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange(pub model::StatusRange);

impl Scalar for StatusRange {
    const WHAT: &'static str = "a status such as 204, or a range such as 200-299";

    fn parse(text: &str) -> Result<Self, Refused> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        // 1xx are on the way to an answer, none themselves (RFC 9110, section 15.2).
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            let status = digits.then(|| text.parse::<u16>().ok()).flatten();
            status.filter(|status| (200..600).contains(status))
        };
        match (status(low.trim()), status(high.trim())) {
            (Some(low), Some(high)) if low <= high => Ok(Self(model::StatusRange { low, high })),
            _ => Err(Refused {
                message: format!("{text:?} is not {}", Self::WHAT),
                help: Some("statuses are from 200 to 599, the lower one first".to_owned()),
            }),
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["integer", "string"], "minimum": 200, "maximum": 599,
            "pattern": r"^[2-5][0-9]{2}(-[2-5][0-9]{2})?$|\$\{.+\}"
        })
    }
}

/// Bytes, written as text with escapes: a label cannot hold a line break at its end, and a protocol of
/// lines needs one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escaped(pub Vec<u8>);

impl Scalar for Escaped {
    const WHAT: &'static str = r"text with the escapes \r, \n, \t, \\ and \xNN";

    fn parse(text: &str) -> Result<Self, Refused> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('\\') {
            bytes.extend(before.bytes());
            let (byte, length) = escape(tail).ok_or_else(|| Refused {
                message: format!("{text:?} is not {}", Self::WHAT),
                help: Some(r"write \\ for a backslash".to_owned()),
            })?;
            bytes.push(byte);
            rest = tail.get(length..).unwrap_or_default();
        }
        bytes.extend(rest.bytes());
        Ok(Self(bytes))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The byte that an escape stands for, and how long it is without its backslash.
fn escape(tail: &str) -> Option<(u8, usize)> {
    match tail.bytes().next()? {
        b'r' => Some((b'\r', 1)),
        b'n' => Some((b'\n', 1)),
        b't' => Some((b'\t', 1)),
        b'\\' => Some((b'\\', 1)),
        b'x' => {
            let hex = tail.get(1..3)?;
            let digits = hex.bytes().all(|b| b.is_ascii_hexdigit());
            let byte = u8::from_str_radix(hex, 16).ok().filter(|_| digits)?;
            Some((byte, 3))
        }
        _ => None,
    }
}

/// Bytes as [`Escaped`] reads them.
#[must_use]
pub fn escaped_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\r' => text.push_str(r"\r"),
            b'\n' => text.push_str(r"\n"),
            b'\t' => text.push_str(r"\t"),
            b'\\' => text.push_str(r"\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(text, r"\x{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_range() {
        let read = |text| StatusRange::parse(text).map(|range| range.0.to_string());
        for (text, expected) in [
            ("204", "204"),
            ("200-299", "200-299"),
            ("301 - 302", "301-302"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        for text in [
            "", "2xx", "100", "199-200", "600", "299-200", "200-", "+200", "0200",
        ] {
            assert!(read(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn escapes_stand_for_bytes_and_are_written_back() {
        let read = |text: &str| Escaped::parse(text).map(|bytes| bytes.0);
        for (text, bytes) in [
            (r"PING\r\n", &b"PING\r\n"[..]),
            ("PING\r\n", b"PING\r\n"),
            (r"\x00\xfF\\x\t", b"\x00\xff\\x\t"),
            ("é", "é".as_bytes()),
            ("", b""),
        ] {
            assert_eq!(read(text).as_deref(), Ok(bytes), "{text}");
            let again = escaped_text(bytes);
            assert_eq!(read(&again).as_deref(), Ok(bytes), "{text}");
        }
        for text in [r"\", r"\q", r"\x1", r"\xg0", r"\x+1", r"a\é"] {
            assert!(read(text).is_err(), "{text} was taken");
        }
    }
}
