//! Tracing: what is read, written and exported.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::header;
use super::report::Report;
use super::tls::Keyring;
use crate::model::{Otlp, OtlpProtocol, Propagation, Secret, Tracing};
use crate::raw::{self, At};
use crate::references::FILE;

/// The first that is written; a second is an error and has no effect.
pub(super) fn compile<'a>(
    mut all: impl Iterator<Item = &'a raw::Tracing>,
    keyring: &Keyring<'_>,
    report: &mut Report,
) -> Tracing {
    let Some(raw) = all.next() else {
        return Tracing::default();
    };
    for other in all {
        let first = &raw.meta.place.source;
        let message = format!("tracing is set twice, first at {first}");
        let help = "the first is kept; remove one of them";
        report.error_help(&other.meta.place, message, help);
    }
    let errors = report.errors();
    let tracing = compile_one(raw, keyring, report);
    // What was meant to be sent with a key, or to nobody, is not sent otherwise.
    match report.errors() == errors && !raw.meta.broken {
        true => tracing,
        false => Tracing::default(),
    }
}

fn compile_one(raw: &raw::Tracing, keyring: &Keyring<'_>, report: &mut Report) -> Tracing {
    let default = Tracing::default();
    let header = raw.response_header.as_ref();
    Tracing {
        sampling: raw
            .sampling
            .as_ref()
            .map_or(default.sampling, |at| at.value),
        propagation: match &raw.propagation {
            Some(written) => propagation(written, raw, report),
            None => default.propagation,
        },
        trust_caller: raw.trust_caller.as_ref().is_none_or(|at| at.value),
        response_header: header.and_then(|at| header::edited(at, report)),
        otlp: raw.otlp.as_ref().and_then(|raw| otlp(raw, keyring, report)),
    }
}

fn propagation(
    written: &[At<Propagation>],
    raw: &raw::Tracing,
    report: &mut Report,
) -> Vec<Propagation> {
    if written.is_empty() && !raw.meta.broken {
        let help = "write tracecontext, b3 or b3multi, or leave it out for tracecontext";
        report.error_help(&raw.meta.place, "propagation is empty", help);
    }
    let mut out = Vec::new();
    for at in written {
        match out.contains(&at.value) {
            true => {
                let message = format!("{} is given twice", at.value.text());
                report.warn(&at.place, message, "remove one of them");
            }
            false => out.push(at.value),
        }
    }
    out
}

fn otlp(raw: &raw::Otlp, keyring: &Keyring<'_>, report: &mut Report) -> Option<Otlp> {
    let endpoint = report.required(&raw.endpoint, &raw.meta, "the endpoint of otlp")?;
    let protocol = raw
        .protocol
        .as_ref()
        .map_or(OtlpProtocol::Grpc, |at| at.value);
    let url = url(endpoint, protocol, report);
    let pairs = raw.headers.as_ref().map_or(&[][..], |pairs| &pairs.0);
    let headers = pairs
        .iter()
        .filter_map(|(name, value)| sent(name, value, keyring, report));
    let headers: Vec<_> = headers.collect();
    let timeout = raw.timeout.as_ref().and_then(|at| {
        let fits = |t| (Duration::from_millis(10)..=Duration::from_secs(300)).contains(&t);
        report.bounded(at, fits, "the timeout of otlp is from 10ms to 5m")
    });
    let service_name = raw.service_name.as_ref();
    let (https, host, port, path) = url?;
    Some(Otlp {
        https,
        host,
        port,
        path,
        protocol,
        headers,
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
        service_name: service_name.map_or("weir".to_owned(), |at| at.value.clone()),
    })
}

/// A field of each export. What is wrong with a value never repeats it.
fn sent(
    name: &At<String>,
    value: &At<String>,
    keyring: &Keyring<'_>,
    report: &mut Report,
) -> Option<(Arc<str>, Secret)> {
    let name = header::edited(name, report)?;
    let text = match value.value.strip_prefix(FILE) {
        Some(path) => keyring.text(&At::new(PathBuf::from(path), value.place.clone()), report)?,
        None => value.value.clone(),
    };
    let fits = text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim() == text;
    if !fits || text.is_empty() {
        let help = "it holds visible ASCII characters, with spaces only between them";
        report.error_help(
            &value.place,
            format!("the value of {name} cannot be sent"),
            help,
        );
        return None;
    }
    Some((name, Secret::new(&text)))
}

/// Whether it is over TLS, the host, the port, and the path without a final slash.
type Url = (bool, String, u16, String);

fn url(at: &At<String>, protocol: OtlpProtocol, report: &mut Report) -> Option<Url> {
    let parsed = split(&at.value, protocol);
    if parsed.is_none() {
        // The value is not repeated: some write a password into it.
        let message = "this is not a receiver's URL";
        let help = "write http://HOST:PORT or https://HOST:PORT; a key goes into headers";
        report.error_help(&at.place, message, help);
    }
    parsed
}

fn split(text: &str, protocol: OtlpProtocol) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let https = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let default = match protocol {
        OtlpProtocol::Grpc => 4317,
        OtlpProtocol::Http => 4318,
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => default,
    };
    let named = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
    let valid = !host.is_empty() && named && plain;
    valid.then(|| {
        let path = path.trim_end_matches('/').to_owned();
        (https, host.to_ascii_lowercase(), port, path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_a_url_of_http_with_the_port_of_its_protocol() {
        for (text, want) in [
            (
                "http://127.0.0.1:4317",
                Some((false, "127.0.0.1", 4317, "")),
            ),
            ("http://Collector", Some((false, "collector", 4317, ""))),
            (
                "https://otel.example.com:443/x/",
                Some((true, "otel.example.com", 443, "/x")),
            ),
            ("http://[::1]:4317/", Some((false, "::1", 4317, ""))),
            ("127.0.0.1:4317", None),
            ("grpc://127.0.0.1:4317", None),
            ("http://", None),
            ("http://a:0", None),
            ("http://a:b", None),
            ("http://user:pw@host:4317", None),
            ("http://[::1:4317", None),
            ("http://host:4317/?a=b", None),
            ("http://ho st", None),
        ] {
            let got = split(text, OtlpProtocol::Grpc);
            let want = want.map(|(https, host, port, path): (bool, &str, u16, &str)| {
                (https, host.to_owned(), port, path.to_owned())
            });
            assert_eq!(got, want, "{text}");
        }
        let http = split("http://a", OtlpProtocol::Http);
        assert_eq!(http, Some((false, "a".into(), 4318, String::new())));
    }
}
