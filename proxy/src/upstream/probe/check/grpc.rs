//! A check by gRPC: `grpc.health.v1.Health/Check` over HTTP/2 with prior knowledge (the GRPC Health Checking
//! Protocol).
//!
//! Its two messages have one field each, so they are written and read by hand.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Uri};
use weir_config::model::GrpcProbe;

use super::{Asked, Connection, Deadline, end_with_reset, quoted};

/// `HealthCheckResponse` has two bytes; what is longer than this is something else.
const MAX_MESSAGE: usize = 4 * 1024;

/// The head of an answer, and its trailers, may be this long.
const MAX_HEAD_BYTES: u32 = 16 * 1024;

/// `HealthCheckResponse.ServingStatus`.
const SERVING_STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// The status codes of gRPC, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) async fn check(
    stream: impl Connection,
    to: Asked<'_>,
    probe: &GrpcProbe,
    deadline: &Deadline,
) -> Result<String, String> {
    end_with_reset(&stream);
    let request = request(probe, &to, deadline)?;
    let question = question(&probe.service);
    deadline
        .bound("waiting for the answer", ask(stream, request, question))
        .await?
}

fn request(probe: &GrpcProbe, to: &Asked<'_>, deadline: &Deadline) -> Result<Request<()>, String> {
    let authority = probe
        .authority
        .as_deref()
        .map_or_else(|| to.authority(), str::to_owned);
    let scheme = if to.name.is_some() { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query("/grpc.health.v1.Health/Check")
        .build();
    // At most eight digits ("gRPC over HTTP2", Timeout).
    let timeout = deadline.timeout.as_millis().min(99_999_999);
    uri.and_then(|uri| {
        Request::post(uri)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", "weir-probe")
            .header("grpc-timeout", format!("{timeout}m"))
            .body(())
    })
    .map_err(|error| format!("the check cannot be asked: {error}"))
}

async fn ask(
    stream: impl Connection,
    request: Request<()>,
    question: Bytes,
) -> Result<String, String> {
    let (client, connection) = h2::client::Builder::new()
        .enable_push(false)
        .max_header_list_size(MAX_HEAD_BYTES)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|error| broken(&error))?;
    let mut answer = std::pin::pin!(exchange(client, request, question));
    tokio::select! {
        outcome = &mut answer => outcome,
        // All that came is with the stream by now, or the stream knows why it did not come.
        _ = connection => answer.await,
    }
}

async fn exchange(
    client: SendRequest<Bytes>,
    request: Request<()>,
    question: Bytes,
) -> Result<String, String> {
    let broken = |error: h2::Error| broken(&error);
    let mut client = client.ready().await.map_err(broken)?;
    let (answer, mut asking) = client.send_request(request, false).map_err(broken)?;
    asking.send_data(question, true).map_err(broken)?;
    let (head, mut body) = answer.await.map_err(broken)?.into_parts();
    if head.status != 200 {
        return Err(format!("status {}, expected gRPC", head.status.as_u16()));
    }
    let kind = head.headers.get("content-type");
    let kind = kind.map_or(&b""[..], |value| value.as_bytes());
    if !kind.starts_with(b"application/grpc") {
        return Err(format!("content type {}, expected gRPC", quoted(kind)));
    }
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(broken)?;
        if message.len() + data.len() > MAX_MESSAGE {
            return Err("the answer is too long for grpc.health.v1.Health".to_owned());
        }
        // What is within the bound fits the window that the stream starts with.
        message.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(broken)?;
    // An answer without a message has its status in the head.
    status(trailers.as_ref().unwrap_or(&head.headers))?;
    judge(&message)
}

fn broken(error: &h2::Error) -> String {
    match error.is_io() {
        true => format!("the connection broke off: {error}"),
        false => format!("no answer by HTTP/2: {error}"),
    }
}

/// Refuses what is not `OK`.
fn status(fields: &HeaderMap) -> Result<(), String> {
    let Some(status) = fields.get("grpc-status") else {
        return Err("an answer without grpc-status".to_owned());
    };
    if status == "0" {
        return Ok(());
    }
    let text = String::from_utf8_lossy(status.as_bytes());
    let name = text.parse().ok().and_then(|code: usize| CODES.get(code));
    let name = name.map_or(String::new(), |name| format!(" ({name})"));
    let why = fields.get("grpc-message").filter(|why| !why.is_empty());
    let why = why.map_or(String::new(), |why| format!(": {}", quoted(why.as_bytes())));
    Err(format!("grpc-status {}{name}{why}", text.escape_debug()))
}

/// `HealthCheckRequest { string service = 1; }` behind gRPC's prefix: not compressed, and the length.
fn question(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 3);
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        varint(service.len(), &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.append(&mut message);
    Bytes::from(framed)
}

fn varint(mut value: usize, into: &mut Vec<u8>) {
    while value > 0x7f {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Reads one framed `HealthCheckResponse`.
fn judge(framed: &[u8]) -> Result<String, String> {
    let Some((&[compressed, a, b, c, d], message)) = framed.split_first_chunk::<5>() else {
        return Err("an answer without a message".to_owned());
    };
    if compressed != 0 {
        return Err("a compressed answer, which was not asked for".to_owned());
    }
    if u32::from_be_bytes([a, b, c, d]) as usize != message.len() {
        return Err("an answer whose length is not what it says".to_owned());
    }
    let Some(status) = serving_status(message) else {
        return Err("the message is not a HealthCheckResponse".to_owned());
    };
    let name = usize::try_from(status).ok();
    match name.and_then(|status| SERVING_STATUS.get(status)) {
        Some(&"SERVING") => Ok("SERVING".to_owned()),
        Some(name) => Err(format!("{name}, expected SERVING")),
        None => Err(format!("serving status {status}, expected SERVING")),
    }
}

/// `ServingStatus status = 1`: 0 where it is not there, and the last one where it is there twice. Fields
/// of other numbers are passed over. `None`: this is no message.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => status = read_varint(&mut message)?,
            (1, _) => return None,
            (_, 0) => drop(read_varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_the_service_it_is_about() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("a.B")[..], *b"\0\0\0\0\x05\x0a\x03a.B");
        let long = question(&"x".repeat(200));
        assert_eq!(&long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn an_answer_is_judged_by_its_status_field() {
        for (message, expected) in [
            (&b"\x08\x01"[..], Ok("SERVING")),
            (b"", Err("UNKNOWN, expected SERVING")),
            (b"\x08\x02", Err("NOT_SERVING, expected SERVING")),
            (b"\x08\x03", Err("SERVICE_UNKNOWN, expected SERVING")),
            (b"\x08\x07", Err("serving status 7, expected SERVING")),
            // Other fields, of each wire type, and the last of two.
            (
                b"\x10\x96\x01\x1a\x02hi\x25abcd\x29abcdefgh\x08\x02\x08\x01",
                Ok("SERVING"),
            ),
            (
                b"\x0a\x01x",
                Err("the message is not a HealthCheckResponse"),
            ),
            (b"\x08", Err("the message is not a HealthCheckResponse")),
            (
                b"\x1a\x7fhi",
                Err("the message is not a HealthCheckResponse"),
            ),
            (b"\x00\x01", Err("the message is not a HealthCheckResponse")),
            (&[0xff; 12], Err("the message is not a HealthCheckResponse")),
        ] {
            let mut framed = vec![0, 0, 0, 0, message.len() as u8];
            framed.extend_from_slice(message);
            let judged = judge(&framed);
            let judged = judged.as_deref().map_err(String::as_str);
            assert_eq!(judged, expected, "{message:?}");
        }
        for framed in [
            &b""[..],
            b"\0\0\0",
            b"\x01\0\0\0\0",
            b"\0\0\0\0\x02\x08",
            b"\0\0\0\0\0\x08\x01",
        ] {
            assert!(judge(framed).is_err(), "{framed:?}");
        }
    }
}
