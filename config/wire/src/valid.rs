//! What holds of every value in a model, looked at once more for what came over the network.
//!
//! The compiler of configuration files sees to it in its own way, with places and advice. Here it is enough to refuse.

use std::time::Duration;

use weir_config::model::{Listener, Secret, Tracing};

use crate::refusal::{Refusal, Within as _};

mod route;
mod service;

pub(crate) use route::{route, stream};
pub(crate) use service::{endpoint, service};

/// Times are never shorter, nor longer.
const MIN_TIME: Duration = Duration::from_millis(1);
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest value of a header field, in bytes.
const MAX_VALUE: usize = 8 * 1024;

fn must(holds: bool, why: &str) -> Result<(), Refusal> {
    match holds {
        true => Ok(()),
        false => Err(Refusal::new(why)),
    }
}

/// Times between which something is done, or after which: the shortest that anybody means.
fn times(all: &[(&str, Duration)]) -> Result<(), Refusal> {
    all.iter().try_for_each(|(field, time)| {
        must(
            (MIN_TIME..=MAX_TIME).contains(time),
            "is not a time from 1 ms to 365 days",
        )
        .within(field)
    })
}

pub(crate) fn listener(own: &Listener) -> Result<(), Refusal> {
    let limits = &own.limits;
    times(&[
        ("head_timeout", limits.head_timeout),
        ("handshake_timeout", limits.handshake_timeout),
        ("idle_timeout", limits.idle_timeout),
        ("stream_idle_timeout", limits.stream_idle_timeout),
        ("udp.idle_timeout", own.udp.idle_timeout),
    ])?;
    must(
        limits.max_headers > 0 && limits.max_headers <= 65_536,
        "is not 1 to 65536",
    )
    .within("max_headers_count")?;
    let sizes = [
        limits.max_header_bytes,
        limits.max_field_bytes,
        limits.max_request_line_bytes,
    ];
    must(
        sizes.iter().all(|size| (1..=16 << 20).contains(size)),
        "is not 1 byte to 16 MiB",
    )
    .within("limits")?;
    let windows = [own.http2.stream_window, own.http2.connection_window];
    must(
        windows
            .iter()
            .all(|size| (1..=i32::MAX as u32).contains(size)),
        "is not 1 to 2147483647",
    )
    .within("http2_protocol_options")?;
    must(own.http2.max_concurrent_streams > 0, "is 0").within("max_concurrent_streams")?;
    must(
        (1..=65_535).contains(&own.udp.max_packet),
        "is not 1 to 65535",
    )
    .within("max_rx_datagram_size")?;
    must(own.udp.max_sessions > 0, "is 0").within("max_sessions")?;
    let datagrams = own.protocol == weir_config::model::Protocol::Udp;
    must(
        own.proxy_protocol.is_none() || !datagrams,
        "is not for datagrams",
    )
    .within("proxy_protocol")?;
    let https = own.protocol == weir_config::model::Protocol::Https;
    let may = https || own.protocol == weir_config::model::Protocol::Tcp;
    must(
        own.tls.is_some() == https || own.tls.is_some() && may,
        "is there without HTTPS, or HTTPS without it",
    )
    .within("transport_socket")?;
    if let Some(tls) = &own.tls {
        must(!tls.certificates.is_empty(), "holds no certificate")
            .within("tls_certificate_sds_secret_configs")?;
        must(!tls.alpn.is_empty(), "is empty").within("alpn_protocols")?;
        must(
            tls.hosts.iter().all(|host| !host.hostnames.is_empty()),
            "is empty",
        )
        .within("server_names")?;
    }
    Ok(())
}

pub(crate) fn tracing(own: &Tracing) -> Result<(), Refusal> {
    must(!own.propagation.is_empty(), "is empty").within("propagation")?;
    must(
        own.response_header.iter().all(|name| is_token(name)),
        "is not the name of a field",
    )
    .within("response_header")?;
    let Some(otlp) = &own.otlp else {
        return Ok(());
    };
    times(&[("otlp.timeout", otlp.timeout)])?;
    must(is_host(&otlp.host), "is no host").within("otlp.host")?;
    must(otlp.path.is_empty() || is_path(&otlp.path), "is no path").within("otlp.path")?;
    let fits =
        |(name, value): &(std::sync::Arc<str>, Secret)| is_token(name) && is_value(value.expose());
    must(otlp.headers.iter().all(fits), "holds what no field may be").within("otlp.headers")
}

/// RFC 9110, section 5.6.2; in lower case or not.
fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(fits)
}

fn is_value(text: &str) -> bool {
    let fits = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
    text.len() <= MAX_VALUE && text.bytes().all(fits) && text.trim() == text
}

fn is_host(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b);
    (1..=260).contains(&text.len()) && text.bytes().all(fits)
}

fn is_path(text: &str) -> bool {
    is_target(text) && !text.contains(['?', '#'])
}

fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 4096 && text.bytes().all(|b| b.is_ascii_graphic())
}
