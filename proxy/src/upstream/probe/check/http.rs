//! A check by HTTP: one request of HTTP/1.1, its status, and its body where that matters.
//!
//! The answer is read by the codec that reads answers to clients' requests: an endpoint whose answers would be refused
//! there does not pass here.

use std::fmt::Write as _;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_config::model::{BodyMatch, HttpProbe, Limits, ProbeMethod};

use super::{
    Asked, Connection, Deadline, MAX_LOOKED_AT, broke_off, end_with_reset, quoted, with_seen,
};
use crate::http::h1::body::Decoder;
use crate::http::h1::head::{Framing, HeadError, Method, Parsed, ResponseHead, parse_response};

/// The head of an answer may be this long.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Fields in the head of an answer.
const MAX_FIELDS: usize = 100;

/// Heads before the final one (RFC 9110, section 15.2).
const MAX_INTERIM: usize = 8;

pub(super) async fn check(
    mut stream: impl Connection,
    to: Asked<'_>,
    probe: &HttpProbe,
    deadline: &Deadline,
) -> Result<String, String> {
    end_with_reset(&stream);
    let request = request(probe, &to);
    let writing = deadline.bound("sending the request", stream.write_all(request.as_bytes()));
    writing.await?.map_err(|error| broke_off(&error))?;
    let method = match probe.method {
        ProbeMethod::Get => Method::Get,
        ProbeMethod::Head => Method::Head,
    };
    let mut answer = Answer {
        stream,
        deadline,
        bytes: Vec::with_capacity(1024),
    };
    let head = answer.head(method).await?;
    let status = head.status;
    if !probe.expected.iter().any(|range| range.contains(status)) {
        let expected: Vec<_> = probe.expected.iter().map(ToString::to_string).collect();
        return Err(format!("status {status}, expected {}", expected.join(", ")));
    }
    match &probe.body {
        None => Ok(format!("status {status}")),
        Some(wanted) => {
            let found = answer.look_for(wanted, head.framing).await?;
            Ok(format!("status {status}, {found}"))
        }
    }
}

fn request(probe: &HttpProbe, to: &Asked<'_>) -> String {
    let mut text = format!("{} {} HTTP/1.1\r\n", probe.method.as_str(), probe.path);
    // Writing to a string cannot fail.
    let _ = match &probe.host {
        Some(host) => write!(text, "Host: {host}\r\n"),
        None => write!(text, "Host: {}\r\n", to.authority()),
    };
    for (name, value) in [("User-Agent", "weir-probe"), ("Accept", "*/*")] {
        let mut own = probe.headers.iter();
        if !own.any(|(other, _)| name.eq_ignore_ascii_case(other)) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    for (name, value) in &probe.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("Connection: close\r\n\r\n");
    text
}

/// An answer on its way.
struct Answer<'d, S> {
    stream: S,
    deadline: &'d Deadline,
    /// Read and not used up yet.
    bytes: Vec<u8>,
}

impl<S: Connection> Answer<'_, S> {
    /// Reads on; false at the end of the connection.
    async fn read(&mut self, doing: &str) -> Result<bool, String> {
        let reading = self.stream.read_buf(&mut self.bytes);
        let count = self.deadline.bound(doing, reading).await?;
        Ok(count.map_err(|error| broke_off(&error))? > 0)
    }

    /// The head of the final answer; what follows it is left in `bytes`.
    async fn head(&mut self, method: Method) -> Result<ResponseHead, String> {
        let limits = Limits {
            max_headers: MAX_FIELDS,
            max_header_bytes: MAX_HEAD_BYTES / 2,
            max_request_line_bytes: MAX_HEAD_BYTES / 2,
            ..Limits::default()
        };
        let mut head = ResponseHead::default();
        let mut interim = 0;
        loop {
            let parsed = parse_response(&self.bytes, &limits, method, &mut head);
            match parsed.map_err(|error| refused(error, &self.bytes))? {
                Parsed::Complete(length) => {
                    self.bytes.drain(..length);
                    if !head.is_interim() {
                        return Ok(head);
                    }
                    interim += 1;
                    if interim > MAX_INTERIM {
                        return Err(format!("more than {MAX_INTERIM} interim heads"));
                    }
                }
                Parsed::Partial => {
                    if !self.read("waiting for the head").await? {
                        return Err(match self.bytes.is_empty() {
                            true => "closed without an answer".to_owned(),
                            false => "closed within the head".to_owned(),
                        });
                    }
                }
            }
        }
    }

    /// Reads the body until it holds what is wanted, has ended, or is longer than is looked at. An
    /// expression is tried once, at the end: its anchors speak of all of the body.
    async fn look_for(&mut self, wanted: &BodyMatch, framing: Framing) -> Result<String, String> {
        let mut decoder = Decoder::new(framing);
        let mut body = Vec::new();
        loop {
            let known = body.len();
            self.decode(&mut decoder, &mut body)?;
            if let BodyMatch::Contains(text) = wanted {
                // It may have begun in what was there before.
                let from = (known + 1).saturating_sub(text.len());
                if memmem::find(body.get(from..).unwrap_or_default(), text.as_bytes()).is_some() {
                    return Ok(format!("body contains {}", quoted(text.as_bytes())));
                }
            }
            let full = body.len() >= MAX_LOOKED_AT;
            if full || decoder.is_done() {
                return verdict(wanted, &body, full);
            }
            if !self.read("waiting for the body").await? && !decoder.end_of_input(false) {
                return Err(format!("the body broke off after {} bytes", body.len()));
            }
        }
    }

    /// Moves what has come of the body from `bytes` to `body`, at most as much as is looked at.
    fn decode(&mut self, decoder: &mut Decoder, body: &mut Vec<u8>) -> Result<(), String> {
        let mut used = 0;
        while let Some(rest) = self.bytes.get_mut(used..).filter(|rest| !rest.is_empty())
            && body.len() < MAX_LOOKED_AT
        {
            let decoded = decoder.decode(rest).map_err(|error| error.to_string())?;
            if decoded.consumed == 0 {
                break;
            }
            body.extend_from_slice(rest.get(decoded.data).unwrap_or_default());
            used += decoded.consumed;
        }
        self.bytes.drain(..used);
        body.truncate(MAX_LOOKED_AT);
        Ok(())
    }
}

fn verdict(wanted: &BodyMatch, body: &[u8], full: bool) -> Result<String, String> {
    let within = if full { " within 64 KiB" } else { "" };
    match wanted {
        BodyMatch::Contains(text) => {
            let text = quoted(text.as_bytes());
            Err(format!("body does not contain {text}{within}"))
        }
        BodyMatch::Regex(regex) => {
            let pattern = quoted(regex.as_str().as_bytes());
            match regex.is_match(body) {
                true => Ok(format!("body matches {pattern}")),
                false => Err(format!("body does not match {pattern}{within}")),
            }
        }
    }
}

fn refused(error: HeadError, seen: &[u8]) -> String {
    match error {
        HeadError::FieldsTooLarge => {
            format!("the head has more than {MAX_FIELDS} fields or 16 KiB")
        }
        HeadError::Syntax(_) | HeadError::Version => with_seen(error.to_string(), seen),
        other => other.to_string(),
    }
}
