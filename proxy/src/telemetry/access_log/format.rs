//! One request as one line.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::clock::Clock;
use super::escape;
use crate::telemetry::{Record, Tls};

/// A JSON object. Every key is always there; what is absent is `null`.
pub(super) fn json(out: &mut Vec<u8>, clock: &mut Clock, record: &Record<'_>) {
    out.extend_from_slice(b"{\"ts\":\"");
    clock.rfc3339(record.time, out);
    out.extend_from_slice(b"\",\"request_id\":");
    text(out, record.request_id);
    out.extend_from_slice(b",\"trace_id\":");
    match &record.trace_id {
        Some(id) => digits(out, id),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"span_id\":");
    match &record.span_id {
        Some(id) => digits(out, id),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"protocol\":\"");
    out.extend_from_slice(record.sample.protocol.text().as_bytes());
    out.push(b'"');
    for (key, value) in [
        (",\"listener\":", record.listener),
        (",\"route\":", record.route),
        (",\"service\":", record.service),
        (",\"version\":", record.version),
        (",\"endpoint\":", record.endpoint.unwrap_or_default()),
    ] {
        out.extend_from_slice(key.as_bytes());
        name(out, value);
    }
    for (key, value) in [
        (",\"method\":", record.method),
        (",\"host\":", record.host),
        (",\"path\":", record.path),
    ] {
        out.extend_from_slice(key.as_bytes());
        text(out, value);
    }
    out.extend_from_slice(b",\"status\":");
    number(out, u64::from(record.sample.status));
    out.extend_from_slice(b",\"grpc_status\":");
    match record.grpc_status {
        Some(status) => number(out, u64::from(status)),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"flags\":\"");
    out.extend_from_slice(record.sample.flag.text().as_bytes());
    out.extend_from_slice(b"\",\"bytes_in\":");
    number(out, record.sample.bytes_in);
    out.extend_from_slice(b",\"bytes_out\":");
    number(out, record.sample.bytes_out);
    out.extend_from_slice(b",\"duration_us\":");
    number(out, micros(record.sample.duration));
    out.extend_from_slice(b",\"upstream_us\":");
    match record.sample.upstream {
        Some(upstream) => number(out, micros(upstream)),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"attempts\":");
    number(out, u64::from(record.attempts));
    out.extend_from_slice(b",\"policy\":");
    name(out, record.policy);
    out.extend_from_slice(b",\"client\":\"");
    address(out, record.client);
    out.extend_from_slice(b"\",\"peer\":\"");
    socket_address(out, record.peer);
    out.push(b'"');
    tls(out, record.tls.as_ref());
    out.extend_from_slice(b"}\n");
}

fn tls(out: &mut Vec<u8>, tls: Option<&Tls<'_>>) {
    let Some(tls) = tls else {
        let none = b",\"tls\":null,\"sni\":null,\"alpn\":null,\"peer_san\":null";
        return out.extend_from_slice(none);
    };
    out.extend_from_slice(b",\"tls\":");
    name(out, tls.version);
    for (key, value) in [
        (",\"sni\":", tls.sni),
        (",\"alpn\":", tls.alpn),
        (",\"peer_san\":", tls.peer_san),
    ] {
        out.extend_from_slice(key.as_bytes());
        text(out, value);
    }
}

/// Hexadecimal digits, which need no escape.
fn digits(out: &mut Vec<u8>, digits: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(digits);
    out.push(b'"');
}

/// The Common Log Format of httpd: `client - - [time] "request" status bytes`.
pub(super) fn common(out: &mut Vec<u8>, clock: &mut Clock, record: &Record<'_>) {
    common_part(out, clock, record);
    out.push(b'\n');
}

/// The Combined Log Format. Referer and User-Agent are not kept of a request and stand as `-`; what
/// follows them is `"host" "flags" duration_us "endpoint" "request_id"`.
pub(super) fn combined(out: &mut Vec<u8>, clock: &mut Clock, record: &Record<'_>) {
    common_part(out, clock, record);
    out.extend_from_slice(b" \"-\" \"-\" ");
    quoted(out, record.host);
    out.push(b' ');
    quoted(out, record.sample.flag.text().as_bytes());
    out.push(b' ');
    number(out, micros(record.sample.duration));
    out.push(b' ');
    quoted(out, record.endpoint.unwrap_or_default().as_bytes());
    out.push(b' ');
    quoted(out, record.request_id);
    out.push(b'\n');
}

fn common_part(out: &mut Vec<u8>, clock: &mut Clock, record: &Record<'_>) {
    address(out, record.client);
    out.extend_from_slice(b" - - [");
    clock.common(record.time, out);
    out.extend_from_slice(b"] \"");
    if record.method.is_empty() {
        out.push(b'-');
    } else {
        escape::common(record.method, out);
        out.push(b' ');
        escape::common(record.path, out);
        out.push(b' ');
        out.extend_from_slice(record.sample.protocol.text().as_bytes());
    }
    out.extend_from_slice(b"\" ");
    number(out, u64::from(record.sample.status));
    out.push(b' ');
    number(out, record.sample.bytes_out);
}

fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    escape::common(if value.is_empty() { b"-" } else { value }, out);
    out.push(b'"');
}

/// A name of the model, or an address: none holds a character that would need an escape.
fn name(out: &mut Vec<u8>, value: &str) {
    match value.is_empty() {
        true => out.extend_from_slice(b"null"),
        false => {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        }
    }
}

fn text(out: &mut Vec<u8>, value: &[u8]) {
    match value.is_empty() {
        true => out.extend_from_slice(b"null"),
        false => escape::json(value, out),
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// By hand for IPv4, which the formatter takes ten times as long for.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
        }
        // Writing to a Vec does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

fn socket_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            self::address(out, IpAddr::V4(*v4.ip()));
            out.push(b':');
            number(out, u64::from(v4.port()));
        }
        // Writing to a Vec does not fail.
        SocketAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

fn micros(time: std::time::Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(u64::from(time.subsec_micros()))
}
